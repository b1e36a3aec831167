package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

const (
	idleRounds = 3  // memory hardly varies
	loginsOnce = 16 // logins under way at a time
)

// idleResult is the memory of one proxy with clients that do nothing, medians of its rounds, in bytes.
type idleResult struct {
	Target   string       `json:"target"`
	TLS      bool         `json:"tls,omitempty"`
	Clients  int          `json:"clients"`
	Base     float64      `json:"base_bytes"`
	LoggedIn float64      `json:"per_client_bytes_after_login"`
	Queried  float64      `json:"per_client_bytes_after_one_query"`
	Rounds   []idleSample `json:"rounds"`
}

// idleSample is VmRSS of a fresh process: before its clients, with all of them logged in, and after each has asked one query.
type idleSample struct {
	Base     int64 `json:"base_bytes"`
	LoggedIn int64 `json:"logged_in_bytes"`
	Queried  int64 `json:"queried_bytes"`
}

func (b *bench) idlePhases(ctx context.Context) ([]idleResult, error) {
	var all []idleResult
	for _, tls := range []bool{false, true} {
		phase := phaseIdle
		if tls {
			phase = phaseIdleTLS
		}
		if !slices.Contains(b.o.only, phase) {
			continue
		}
		rs, err := b.idlePhase(ctx, tls)
		all = append(all, rs...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// idlePhase takes the proxies in turn, round after round, each time as a new process.
func (b *bench) idlePhase(ctx context.Context, tls bool) ([]idleResult, error) {
	programs := slices.DeleteFunc(b.o.proxies(), func(p program) bool { return tls && !p.offersTLS() })
	rounds := min(idleRounds, b.o.rounds)
	b.progress.expect(rounds * len(programs))
	samples := make([][]idleSample, len(programs))
	for range rounds {
		for i, p := range programs {
			s, err := b.measureIdle(ctx, p, tls)
			if err != nil {
				return nil, fmt.Errorf("idle clients of %s: %w", p.name, err)
			}
			samples[i] = append(samples[i], s)
			b.progress.step("%d idle clients of %s (TLS: %t): %.1f MB", b.o.idle, p.name, tls, float64(s.Queried)/1e6)
		}
	}
	var rs []idleResult
	for i, p := range programs {
		rs = append(rs, summariseIdle(p.name, tls, b.o.idle, samples[i]))
	}
	return rs, nil
}

func summariseIdle(name string, tls bool, clients int, samples []idleSample) idleResult {
	var base, in, asked []float64
	for _, s := range samples {
		base = append(base, float64(s.Base))
		in = append(in, float64(s.LoggedIn-s.Base)/float64(clients))
		asked = append(asked, float64(s.Queried-s.Base)/float64(clients))
	}
	return idleResult{name, tls, clients, median(base), median(in), median(asked), samples}
}

func (b *bench) measureIdle(ctx context.Context, p program, tls bool) (idleSample, error) {
	var s idleSample
	t, err := b.startProxy(ctx, p, tls)
	if err != nil {
		return s, err
	}
	defer t.stop()
	if s.Base, err = b.settled(ctx, t); err != nil {
		return s, err
	}
	clients := make([]*pgconn.PgConn, b.o.idle)
	defer hangUp(clients)
	err = each(ctx, len(clients), func(ctx context.Context, i int) error {
		var err error
		clients[i], err = t.connect(ctx)
		return err
	})
	if err != nil {
		return s, err
	}
	if s.LoggedIn, err = b.settled(ctx, t); err != nil {
		return s, err
	}
	err = each(ctx, len(clients), func(ctx context.Context, i int) error {
		_, err := clients[i].Exec(ctx, "SELECT 1").ReadAll()
		return err
	})
	if err != nil {
		return s, err
	}
	s.Queried, err = b.settled(ctx, t)
	return s, err
}

// settled reads the memory after a rest, in which a runtime may give back what the logins took.
func (b *bench) settled(ctx context.Context, t target) (int64, error) {
	rest := time.NewTimer(b.o.settle)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	if err := t.proc.ended(); err != nil {
		return 0, err
	}
	return t.rss()
}

// each calls do for 0 to n-1, a few at a time.
func each(ctx context.Context, n int, do func(context.Context, int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(loginsOnce)
	for i := range n {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return do(ctx, i)
		})
	}
	return g.Wait()
}

// hangUp closes without a farewell: the process under measurement ends next.
func hangUp(clients []*pgconn.PgConn) {
	for _, c := range clients {
		if c != nil {
			c.Conn().Close()
		}
	}
}
