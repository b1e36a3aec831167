package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"time"
)

// options are the command line.
type options struct {
	version  int
	sarnic   string
	duration time.Duration
	warmup   time.Duration
	every    time.Duration
	settle   time.Duration
	seed     uint64
	clients  int
	vandals  int
	pool     int
	loops    int
	rates    rates
	memory   float64 // how many times the resident set after the warm-up it may be at the end
	log      string
}

// rates are how often chaos strikes, per second.
type rates struct{ terminate, cancel, cut float64 }

func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.SetOutput(out)
	f.IntVar(&o.version, "pg", 0, "`major` version of PostgreSQL; 0 takes the newest on the machine")
	f.StringVar(&o.sarnic, "sarnic", "bin/sarnic", "`program` to soak")
	f.DurationVar(&o.duration, "duration", 10*time.Minute, "`time` under load, after the warm-up")
	f.DurationVar(&o.warmup, "warmup", time.Minute, "`time` under load before memory and the rest are measured")
	f.DurationVar(&o.every, "every", 5*time.Second, "`time` between two lines of progress")
	f.DurationVar(&o.settle, "settle", 3*time.Second, "`time` between the end of the load and the last look at memory")
	f.Uint64Var(&o.seed, "seed", 0, "of everything random; 0 takes any")
	f.IntVar(&o.clients, "clients", 32, "workers")
	f.IntVar(&o.vandals, "vandals", 5, "clients that leave in the worst ways")
	f.IntVar(&o.pool, "pool", 8, "server connections")
	f.IntVar(&o.loops, "loops", 2, "event loops of sarnic, all of which it is made to use")
	f.Float64Var(&o.rates.terminate, "terminate", 2, "server connections terminated per second")
	f.Float64Var(&o.rates.cancel, "cancel", 25, "cancel requests per second")
	f.Float64Var(&o.rates.cut, "cut", 4, "workers' sockets cut per second")
	f.Float64Var(&o.memory, "memory", 1.2, "`times` the resident set after the warm-up that it may be at the end, and 8 MB more")
	f.StringVar(&o.log, "log", "", "`file` for what sarnic says; without it, only what is wrong in it is shown")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1 << 32)
	}
	return o, errors.Join(o.check(f.NArg()), o.absolute())
}

func (o *options) check(extra int) error {
	switch {
	case extra > 0:
		return errors.New("unexpected arguments")
	case o.duration <= 0 || o.warmup < 0 || o.every <= 0:
		return errors.New("times must be more than 0")
	case o.clients < 1 || o.pool < 1 || o.loops < 1 || o.vandals < 0:
		return fmt.Errorf("needs a client, a server connection and a loop, got -clients %d -pool %d -loops %d -vandals %d",
			o.clients, o.pool, o.loops, o.vandals)
	case o.rates.terminate < 0 || o.rates.cancel < 0 || o.rates.cut < 0:
		return errors.New("rates must not be negative")
	}
	return nil
}

// absolute makes paths independent of the directory that sarnic is started in.
func (o *options) absolute() (err error) {
	if o.sarnic, err = filepath.Abs(o.sarnic); err != nil {
		return err
	}
	if o.log != "" {
		o.log, err = filepath.Abs(o.log)
	}
	return err
}

// random is the source for one part of the run.
func (o *options) random(phase, part int) *rand.Rand {
	return rand.New(rand.NewPCG(o.seed, uint64(phase)<<32|uint64(part)))
}
