package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// chaos strikes at the workers' sessions and at sarnic's server connections.
type chaos struct {
	workers []*worker
	admin   string // DSN of the superuser, past sarnic
	rates   rates
	tally   *tally
	faults  *faults
}

// cancelTime is how long a cancel request may take; sarnic gives up waiting for the server before.
const cancelTime = 20 * time.Second

// cancelsAtOnce bounds the cancel requests under way.
const cancelsAtOnce = 8

// run strikes until ctx ends, each kind at its own rate.
func (c *chaos) run(ctx context.Context, random func(part int) *rand.Rand) {
	var all sync.WaitGroup
	for part, kind := range []struct {
		rate   float64
		strike func(context.Context, *rand.Rand)
	}{
		{c.rates.cancel, c.cancelOne(&all)},
		{c.rates.cut, c.cutOne},
	} {
		random := random(part)
		all.Go(func() { every(ctx, kind.rate, random, func() { kind.strike(ctx, random) }) })
	}
	all.Go(func() { c.terminate(ctx, random(2)) })
	all.Wait()
}

// every strikes at random times, so often per second on average.
func every(ctx context.Context, rate float64, random *rand.Rand, strike func()) {
	if rate <= 0 {
		return
	}
	for pause(ctx, time.Duration(random.ExpFloat64()/rate*float64(time.Second))) == nil {
		strike()
	}
}

// victim is some worker's session, nil where that one has none.
func (c *chaos) victim(random *rand.Rand) *session {
	return c.workers[random.IntN(len(c.workers))].live.Load()
}

// cancelOne sends a cancel request to one session, through sarnic as any driver does.
func (c *chaos) cancelOne(all *sync.WaitGroup) func(context.Context, *rand.Rand) {
	slots := make(chan struct{}, cancelsAtOnce)
	return func(ctx context.Context, random *rand.Rand) {
		s := c.victim(random)
		if s == nil {
			return
		}
		select {
		case slots <- struct{}{}:
		default:
			return
		}
		s.cancels.begin()
		c.tally.add(cancelsSent)
		all.Go(func() {
			defer func() { <-slots }()
			defer s.cancels.end()
			ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
			defer stop()
			begun := time.Now()
			if err := s.conn.CancelRequest(ctx); err != nil {
				c.faults.add("chaos", nil, "a cancel request failed after %s: %v", time.Since(begun), err)
			} else if took := time.Since(begun); took > cancelTime/2 {
				c.faults.add("chaos", nil, "a cancel request took %s", took)
			}
		})
	}
}

// cutOne closes one worker's socket.
func (c *chaos) cutOne(_ context.Context, random *rand.Rand) {
	reset := random.IntN(2) == 0
	if s := c.victim(random); s != nil && !s.cut.Load() {
		c.tally.add(cuts)
		s.cutOff(reset)
	}
}

// terminate ends server connections, one at a time.
func (c *chaos) terminate(ctx context.Context, random *rand.Rand) {
	if c.rates.terminate <= 0 {
		return
	}
	conn, err := pgconn.Connect(context.WithoutCancel(ctx), c.admin)
	if err != nil {
		c.faults.add("chaos", nil, "the superuser cannot log in: %v", err)
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	every(ctx, c.rates.terminate, random, func() {
		if err := c.terminateOne(context.WithoutCancel(ctx), conn, random); err != nil {
			c.faults.add("chaos", nil, "cannot terminate: %v", err)
		}
	})
}

func (c *chaos) terminateOne(ctx context.Context, conn *pgconn.PgConn, random *rand.Rand) error {
	const sql = "SELECT pid FROM pg_stat_activity WHERE usename = '" + user + "' AND backend_type = 'client backend' ORDER BY pid"
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return err
	}
	rows := results[0].Rows
	if len(rows) == 0 {
		return nil
	}
	pid, err := strconv.Atoi(string(rows[random.IntN(len(rows))][0]))
	if err != nil {
		return err
	}
	results, err = conn.Exec(ctx, fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid)).ReadAll()
	if err == nil && string(results[0].Rows[0][0]) == "t" {
		c.tally.add(terminated)
	}
	return err
}
