package loop

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"time"
)

// watchdog notices a loop that stays in one turn: somebody in it blocks or computes, and every session of the loop
// waits. It writes the stacks down once for each such turn, and not more often than logEvery.
type watchdog struct {
	log   *slog.Logger
	loops []*Loop
	marks []mark // by loop
	last  time.Time
}

// mark is what the last look at a loop found.
type mark struct {
	turn int64
	told bool // of this turn
}

const (
	lookBusy = 50 * time.Millisecond
	lookIdle = 250 * time.Millisecond // while no loop turns: a look costs a thread's wake-up
	logEvery = 10 * time.Second
)

func newWatchdog(loops []*Loop, log *slog.Logger) *watchdog {
	w := &watchdog{log: log, loops: loops, marks: make([]mark, len(loops))}
	for i := range w.marks {
		w.marks[i].turn = -1 // a loop that has not begun is not stuck at the first look
	}
	return w
}

func (w *watchdog) run(ctx context.Context) {
	timer := time.NewTimer(lookIdle)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-timer.C:
			next := lookIdle
			if w.look(now) {
				next = lookBusy
			}
			timer.Reset(next)
		}
	}
}

// look compares each loop with the last look and reports whether any turns.
func (w *watchdog) look(now time.Time) (turning bool) {
	for i, l := range w.loops {
		m, turn := &w.marks[i], l.turns.Load()
		switch {
		case turn != m.turn:
			*m = mark{turn: turn}
			turning = true
		case l.sleeping.Load() || l.turns.Load() != turn:
		default:
			turning = true
			if !m.told && now.Sub(w.last) >= logEvery {
				m.told, w.last = true, now
				w.log.Warn("a loop is stuck in one turn; its sessions wait", "loop", i, "stacks", string(activeStacks()))
			}
		}
	}
	return turning
}

// activeStacks is the stacks of the goroutines that are not parked where loops park theirs. A stuck fiber is among
// them under its own number, not under its loop's.
func activeStacks() []byte {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var out []byte
	for block := range bytes.SplitSeq(buf, []byte("\n\n")) {
		head, _, _ := bytes.Cut(block, []byte("\n"))
		if !bytes.Contains(head, []byte("[coroutine")) && !bytes.Contains(head, []byte("[IO wait")) {
			out = append(append(out, block...), "\n\n"...)
		}
	}
	return out[:min(len(out), 64<<10)]
}
