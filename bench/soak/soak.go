package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// soak is one run.
type soak struct {
	o       *options
	say     func(format string, args ...any)
	faults  *faults
	tally   *tally
	dir     string
	pg      *pgtest.Postgres
	proxy   *proxy
	config  *pgconn.Config // of a client
	books   []*book
	workers []*worker
	vandals []*vandal

	warm, last sample // in the calm after the warm-up and at the end
	trend      trend
	loaded     time.Duration // time under load after the warm-up
	audit      *audit        // nil: not reached
}

func newSoak(o *options, status io.Writer) *soak {
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(status, format+"\n", args...)
	}
	return &soak{o: o, say: say, faults: newFaults(say), tally: newTally()}
}

// open starts PostgreSQL and sarnic.
func (s *soak) open(ctx context.Context) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "sarnic-soak-"); err != nil {
		return err
	}
	s.say("seed %d; starting PostgreSQL and sarnic", s.o.seed)
	s.pg, err = pgtest.Start(ctx, pgtest.Options{
		Version: s.o.version, Settings: serverSettings(), Users: []pgtest.User{{Name: user, Password: password}},
		Progress: func(line string) { s.say("%s", line) },
	})
	if err != nil {
		return err
	}
	secrets := newSecrets(s.o.random(0, 0), s.o.clients)
	if err := load(ctx, s.pg, secrets); err != nil {
		return fmt.Errorf("load the tables: %w", err)
	}
	if s.proxy, err = startProxy(ctx, s.o, s.pg, s.dir); err != nil {
		return err
	}
	if s.config, err = clientConfig(s.proxy.addr); err != nil {
		return err
	}
	s.hire(secrets)
	return nil
}

// hire makes the workers and the vandals, with a book each.
func (s *soak) hire(secrets []string) {
	for i := range s.o.clients + s.o.vandals {
		s.books = append(s.books, &book{owner: i})
	}
	for i, secret := range secrets {
		s.workers = append(s.workers, &worker{
			id: i, secret: secret, config: s.config, book: s.books[i], tally: s.tally, faults: s.faults,
		})
	}
	for i := range s.o.vandals {
		id := s.o.clients + i
		s.vandals = append(s.vandals, &vandal{
			id: id, addr: s.proxy.addr, config: s.config, book: s.books[id], tally: s.tally, faults: s.faults, workers: s.workers,
		})
	}
}

func (s *soak) close() {
	if s.proxy != nil {
		_ = s.proxy.Kill()
	}
	if s.pg != nil {
		_ = s.pg.Close()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// run goes through the phases. What must not happen is in the faults; an error ends the run early.
func (s *soak) run(ctx context.Context) error {
	after := context.WithoutCancel(ctx) // what is counted after an interrupted load
	if err := s.rush(after); err != nil {
		return err
	}
	s.load(ctx, 1, s.o.warmup)
	var err error
	if s.warm, err = s.calm(after); err != nil {
		return fmt.Errorf("the calm after the warm-up: %w", err)
	}
	s.say("warm: %s", s.warm)
	begun := time.Now()
	s.load(ctx, 2, s.o.duration)
	s.loaded = time.Since(begun)
	if s.last, err = s.calm(after); err != nil {
		return fmt.Errorf("the calm at the end: %w", err)
	}
	s.say("calm: %s", s.last)
	s.compareCalm(s.warm, s.last)
	s.compareTrend()
	s.compareLosses()
	if err := s.wholePool(after); err != nil {
		s.faults.add("the whole pool", nil, "%v", err)
	}
	if err := s.end(after); err != nil {
		s.faults.add("SIGTERM", nil, "%v", err)
	}
	return errors.Join(s.readLog(), s.doAudit(after))
}

func (s *soak) doAudit(ctx context.Context) (err error) {
	s.audit, err = runAudit(ctx, s.pg, s.books, s.workers, s.faults)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// readLog looks for what sarnic itself holds for a failure.
func (s *soak) readLog() error {
	found, err := s.proxy.complaints()
	if len(found) > 0 {
		s.faults.add("sarnic's log", found, "%d lines that should not be there", len(found))
	}
	return err
}

// load lets everybody loose until the time is over, too much has failed, sarnic is gone or ctx ends. It returns when all
// have left.
func (s *soak) load(ctx context.Context, phase int, d time.Duration) {
	if d == 0 {
		return
	}
	ctx, stop := context.WithTimeout(ctx, d)
	defer stop()
	var all sync.WaitGroup
	for i, w := range s.workers {
		all.Go(func() { w.run(ctx, s.o.random(phase, 1000+i)) })
	}
	for i, v := range s.vandals {
		all.Go(func() { v.run(ctx, s.o.random(phase, 2000+i)) })
	}
	c := &chaos{workers: s.workers, admin: s.pg.AdminDSN(database), rates: s.o.rates, tally: s.tally, faults: s.faults}
	all.Go(func() { c.run(ctx, func(part int) *rand.Rand { return s.o.random(phase, part) }) })
	all.Go(func() { s.watch(ctx, stop, phase) })
	<-ctx.Done()
	over := time.Now()
	all.Wait()
	s.say("everybody has left, %s after the end of the load", time.Since(over).Round(time.Millisecond))
}
