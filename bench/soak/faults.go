package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Failures printed in full, and failures after which the run is not worth its time any more.
const (
	faultsShown  = 12
	faultsEnough = 40
)

// faults collects what must not happen.
type faults struct {
	begun time.Time
	say   func(format string, args ...any)
	full  chan struct{} // closed after faultsEnough

	mu    sync.Mutex
	texts []string
	n     int
}

func newFaults(say func(string, ...any)) *faults {
	return &faults{begun: time.Now(), say: say, full: make(chan struct{})}
}

// add notes a failure of who, with what it did last.
func (f *faults) add(who string, did []string, format string, args ...any) {
	text := fmt.Sprintf("%s, %s into the run: ", who, time.Since(f.begun).Round(time.Millisecond)) + fmt.Sprintf(format, args...)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if f.n == faultsEnough {
		close(f.full)
	}
	if f.n > faultsShown {
		return
	}
	f.say("FAILURE: %s", text)
	if len(did) > 0 {
		text += "\n    it did last:\n      " + strings.Join(did, "\n      ")
	}
	f.texts = append(f.texts, text)
}

func (f *faults) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

func (f *faults) shown() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.texts...)
}

// recent is the last things a client did, for the report of a failure. It belongs to the client's goroutine.
type recent struct {
	lines [16]string
	n     int
}

func (r *recent) add(format string, args ...any) {
	const most = 200
	text := fmt.Sprintf(format, args...)
	if len(text) > most {
		text = text[:most] + fmt.Sprintf("… (%d bytes)", len(text))
	}
	r.lines[r.n%len(r.lines)] = time.Now().Format("15:04:05.000000 ") + text
	r.n++
}

func (r *recent) list() []string {
	var list []string
	for i := max(0, r.n-len(r.lines)); i < r.n; i++ {
		list = append(list, r.lines[i%len(r.lines)])
	}
	return list
}

// wrongAnswer is an answer that is not the one to what was asked.
type wrongAnswer struct{ text string }

func (e *wrongAnswer) Error() string { return "wrong answer: " + e.text }

func wrongf(format string, args ...any) error {
	return &wrongAnswer{fmt.Sprintf(format, args...)}
}
