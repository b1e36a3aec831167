package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// logBacklog is how many lines may wait for a slow reader of the log. At some 200 bytes a line it is 800 kB at most.
	logBacklog = 4096
	// logPatience is how long the end of the process waits for such a reader.
	logPatience = time.Second
)

// logWriter takes log lines without ever making the writer wait: what stalls a loop stalls every session on it. Lines
// that find the backlog full are dropped and counted.
type logWriter struct {
	out     io.Writer
	lines   chan []byte
	dropped atomic.Uint64
	ended   chan struct{} // closed: write what is there and end
	done    chan struct{} // closed when run has returned
	close   sync.Once
}

func newLogWriter(out io.Writer) *logWriter {
	return &logWriter{
		out: out, lines: make(chan []byte, logBacklog), ended: make(chan struct{}), done: make(chan struct{}),
	}
}

// Write never blocks and never fails.
func (w *logWriter) Write(line []byte) (int, error) {
	select {
	case w.lines <- bytes.Clone(line):
	default:
		w.dropped.Add(1)
	}
	return len(line), nil
}

// run writes lines until Close. A writer that fails has nobody to tell; the line is lost.
func (w *logWriter) run(missing func(lines uint64)) {
	defer close(w.done)
	reported := uint64(0)
	for {
		select {
		case line := <-w.lines:
			_, _ = w.out.Write(line)
		case <-w.ended:
			w.drain()
			return
		}
		if dropped := w.dropped.Load(); dropped > reported && len(w.lines) < logBacklog/2 {
			missing(dropped - reported)
			reported = dropped
		}
	}
}

func (w *logWriter) drain() {
	for {
		select {
		case line := <-w.lines:
			_, _ = w.out.Write(line)
		default:
			return
		}
	}
}

// Close writes what is waiting, but does not wait long for a reader that has stopped reading.
func (w *logWriter) Close() {
	w.close.Do(func() { close(w.ended) })
	select {
	case <-w.done:
	case <-time.After(logPatience):
	}
}

// logOptions is what the operator chooses about the log.
type logOptions struct {
	level  slog.Level
	format string // text, json or auto
}

func (o logOptions) handler(w io.Writer, terminal bool) slog.Handler {
	options := &slog.HandlerOptions{Level: o.level}
	if o.format == "text" || o.format == "auto" && terminal {
		return slog.NewTextHandler(w, options)
	}
	return slog.NewJSONHandler(w, options)
}

// startLog returns a logger to stderr and the writer behind it, which the caller closes last of all.
func startLog(o logOptions, stderr io.Writer) (*slog.Logger, *logWriter) {
	terminal := isTerminal(stderr)
	w := newLogWriter(stderr)
	direct := slog.New(o.handler(stderr, terminal))
	go w.run(func(lines uint64) {
		direct.Warn("log lines dropped, the reader of the log is too slow", "lines", lines)
	})
	return slog.New(o.handler(w, terminal)), w
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// formatFlag accepts the names of log formats.
type formatFlag string

func (f *formatFlag) String() string { return string(*f) }

func (f *formatFlag) Set(text string) error {
	switch text {
	case "text", "json", "auto":
		*f = formatFlag(text)
		return nil
	}
	return fmt.Errorf("must be text, json or auto")
}
