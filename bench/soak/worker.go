package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// worker is a client that behaves. It works over one session until that is lost or it feels like a new one.
type worker struct {
	id     int
	secret string
	config *pgconn.Config
	book   *book
	tally  *tally
	faults *faults
	random *rand.Rand // of this phase
	did    recent

	s       *session
	live    atomic.Pointer[session] // s, for chaos
	leaving bool                    // s is not to be used after this job

	requests   int64
	increments int64 // of the canary, acknowledged
	doubts     int64 // with unknown outcome
}

// job is one kind of work; one with weight 2 is done twice as often as one with weight 1.
type job struct {
	name   string
	weight int
	do     func(context.Context) error
}

func (w *worker) jobs() []job {
	return []job{
		{"tpcb simple", 10, w.stepwise(simple)},
		{"tpcb extended", 10, w.stepwise(extended)},
		{"tpcb prepared", 10, w.stepwise(prepared)},
		{"tpcb split", 5, w.stepwise(split)},
		{"tpcb one text", 8, w.oneText},
		{"tpcb pipeline", 10, w.pipelinedTransfer},
		{"tpcb implicit", 10, w.implicit},
		{"increment", 10, w.increment},
		{"look", 12, w.look},
		{"own statement", 10, w.own},
		{"deallocate", 3, w.deallocate},
		{"sleep", 8, w.sleep},
		{"many rows", 3, w.manyRows},
		{"large value", 2, w.largeValue},
		{"large argument", 2, w.largeArgument},
		{"mistake", 4, w.mistake},
		{"copy alone", 3, w.copyAlone},
		{"copy within", 1, w.copyWithin},
		{"copy fails", 1, w.copyFails},
		{"copy out", 2, w.copyOut},
		{"change session", 1, w.change},
		{"leave", 2, func(context.Context) error { w.leaving = true; return nil }},
	}
}

// run works until ctx ends; what it is in the middle of then is finished.
func (w *worker) run(ctx context.Context, random *rand.Rand) {
	w.random = random
	jobs := w.jobs()
	total := 0
	for _, j := range jobs {
		total += j.weight
	}
	for ctx.Err() == nil {
		w.turn(ctx, jobs, total)
	}
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer stop()
	w.drop(last)
}

// turn does one job, and idles a while.
func (w *worker) turn(ctx context.Context, jobs []job, total int) {
	bounded, stop := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer stop()
	if w.s == nil && !w.logIn(bounded) {
		_ = pause(ctx, 100*time.Millisecond)
		return
	}
	n := w.random.IntN(total)
	i := 0
	for n >= jobs[i].weight {
		n -= jobs[i].weight
		i++
	}
	w.did.add("— %s", jobs[i].name)
	err := w.s.quiet()
	if err == nil {
		err = jobs[i].do(bounded)
	}
	w.settle(bounded, jobs[i].name, err)
	_ = pause(ctx, time.Duration(w.random.IntN(20))*time.Millisecond)
}

func (w *worker) logIn(ctx context.Context) bool {
	app := ""
	if w.random.IntN(4) == 0 {
		app = fmt.Sprintf("soak-%d", w.id%5)
	}
	s, err := logIn(ctx, w.config, app, w.random, &w.did, func() { w.tally.add(waitNotices) })
	var told *pgconn.PgError
	switch {
	case errors.As(err, &told) && serverLost(told):
		w.tally.add(refusedLost) // the one that was to try its settings
		return false
	case err != nil:
		w.fault("login", err)
		return false
	}
	w.s = s
	w.live.Store(s)
	w.tally.add(connects)
	return true
}

// drop leaves, if there is something to leave.
func (w *worker) drop(ctx context.Context) {
	if w.s == nil {
		return
	}
	w.live.Store(nil)
	w.s.leave(ctx)
	w.s, w.leaving = nil, false
}

func (w *worker) fault(job string, err error) {
	w.faults.add(fmt.Sprintf("worker %d, %s", w.id, job), w.did.list(), "%v", err)
}

// settle judges how a job went and makes the session ready for the next one.
func (w *worker) settle(ctx context.Context, job string, err error) {
	w.tally.add(job)
	if !w.excused(job, err) || w.leaving {
		w.drop(ctx)
		return
	}
	for attempt := 0; !w.s.conn.IsClosed() && w.s.conn.TxStatus() != 'I' && attempt < 20; attempt++ {
		err := w.s.ask(ctx, simple, control("ROLLBACK")) // a cancel may hit this one too
		if !w.excused("rolling back after "+job, err) {
			w.drop(ctx)
			return
		}
	}
	if w.s.conn.IsClosed() {
		w.drop(ctx)
	}
}

// excused reports whether the session may go on after err. What cannot be excused is a failure.
func (w *worker) excused(job string, err error) bool {
	var wrong *wrongAnswer
	var told *pgconn.PgError
	switch {
	case err == nil:
		return true
	case errors.As(err, &wrong):
		w.fault(job, err)
		return false
	case w.s.cut.Load():
		return false
	case errors.As(err, &told):
		return w.told(job, told)
	case gone(err):
		w.tally.add(foundLost)
		return false
	}
	w.fault(job, err)
	return false
}

// canceled is PostgreSQL's text for a statement that a cancel request stopped; a COPY given up has the same SQLSTATE.
const canceled = "canceling statement due to user request"

// told judges an error that the server or sarnic sent.
func (w *worker) told(job string, e *pgconn.PgError) bool {
	switch {
	case e.Severity == "ERROR" && e.Code == "57014" && e.Message == canceled:
		if was, ended := w.s.cancels.since(w.s.asked); !was {
			w.fault(job, fmt.Errorf("%w, though no cancel request was under way since %s; the last ended at %s",
				e, w.s.asked.Format(clock), ended.Format(clock)))
			return false
		}
		w.tally.add(cancelsHit)
		return true
	case serverLost(e):
		w.tally.add(toldLost)
		return false
	case e.Code == "08006":
		w.tally.add(refusedLost) // it was terminated before anything of the client's reached it
		return true
	}
	w.fault(job, fmt.Errorf("%w (detail %q, hint %q)", e, e.Detail, e.Hint))
	return e.Severity == "ERROR"
}

// serverLost reports whether e says that the client's server connection is gone, and so the client's is too.
func serverLost(e *pgconn.PgError) bool {
	return e.Severity == "FATAL" && (e.Code == "57P01" || e.Code == "08006")
}

const clock = "15:04:05.000000"

func (w *worker) anyProtocol() protocol { return protocol(w.random.IntN(int(protocols))) }

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
