package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress tells a person how far the run is: one line rewritten in place on a terminal, else one per step.
type progress struct {
	w     io.Writer
	live  bool
	total int // measurements
	done  int
	begun time.Time
}

func newProgress(w io.Writer, verbose bool) *progress {
	p := &progress{w: w}
	if f, ok := w.(*os.File); ok && !verbose {
		st, err := f.Stat()
		p.live = err == nil && st.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) say(format string, args ...any) {
	p.clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// expect begins a part of so many measurements.
func (p *progress) expect(total int) {
	p.total, p.done, p.begun = total, 0, time.Now()
}

// step reports one measurement done.
func (p *progress) step(format string, args ...any) {
	p.done++
	left := time.Since(p.begun) / time.Duration(p.done) * time.Duration(p.total-p.done)
	p.clear()
	fmt.Fprintf(p.w, "[%d/%d] %s, %s left", p.done, p.total, fmt.Sprintf(format, args...), left.Round(time.Second))
	if !p.live {
		fmt.Fprintln(p.w)
	}
}

// clear wipes the line in place, so that other output starts at the margin.
func (p *progress) clear() {
	if p.live {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
