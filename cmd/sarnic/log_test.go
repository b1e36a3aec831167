package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stuckWriter takes nothing until it is released.
type stuckWriter struct {
	release chan struct{}
	mu      sync.Mutex
	written bytes.Buffer
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	<-w.release
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written.Write(p)
}

func (w *stuckWriter) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written.String()
}

func TestLogNeverWaitsForItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuckWriter{release: make(chan struct{})}
		log, logs := startLog(logOptions{format: "text"}, out)
		log.Info("first") // taken by the goroutine, which is stuck with it
		synctest.Wait()
		const extra = 10
		for i := range logBacklog + extra {
			log.Info("line", "i", i)
		}
		if dropped := logs.dropped.Load(); dropped != extra {
			t.Errorf("%d lines dropped, want %d", dropped, extra)
		}
		close(out.release)
		synctest.Wait()
		if got := strings.Count(out.text(), "\n"); got != 1+logBacklog+1 {
			t.Errorf("%d lines written, want all that were taken and one about the others", got)
		}
		if want := fmt.Sprintf("too slow\" lines=%d", extra); !strings.Contains(out.text(), want) {
			t.Errorf("nothing about the dropped lines")
		}
		logs.Close()
		logs.Close()
	})
}

func TestLogCloseWritesWhatIsWaiting(t *testing.T) {
	var out bytes.Buffer
	log, logs := startLog(logOptions{level: slog.LevelWarn, format: "auto"}, &out)
	log.Info("not this")
	for range 100 {
		log.Warn("this")
	}
	logs.Close()
	if got := strings.Count(out.String(), `"msg":"this"`); got != 100 || strings.Contains(out.String(), "not this") {
		t.Errorf("%d lines of JSON, want 100:\n%s", got, out.String())
	}
}

func TestLogCloseDoesNotWaitForeverForAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuckWriter{release: make(chan struct{})}
		log, logs := startLog(logOptions{format: "json"}, out)
		log.Info("stuck")
		begin := time.Now()
		logs.Close()
		if waited := time.Since(begin); waited != logPatience {
			t.Errorf("waited %s, want %s", waited, logPatience)
		}
		close(out.release)
		<-logs.done
	})
}

func TestPipesAndFilesAreNoTerminals(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if isTerminal(w) || isTerminal(&bytes.Buffer{}) {
		t.Error("taken for a terminal")
	}
}
