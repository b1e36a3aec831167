package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// health is what the probes say. It is written by the service and read by every probe.
type health struct {
	reason atomic.Pointer[string] // why clients should not be sent here; nil: they may
}

func newHealth() *health {
	h := &health{}
	h.notReady("starting")
	return h
}

func (h *health) ready()                 { h.reason.Store(nil) }
func (h *health) notReady(reason string) { h.reason.Store(&reason) }

// httpTimeout bounds every part of a request: probes and scrapes are small, and a client that dawdles is none of ours.
const httpTimeout = 10 * time.Second

// endpoints serves what is not Postgres: probes and metrics.
func endpoints(h *health, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if reason := h.reason.Load(); reason != nil {
			http.Error(w, "not ready: "+*reason, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}

// serveHTTP answers until ctx ends. It closes l.
func serveHTTP(ctx context.Context, l net.Listener, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: httpTimeout,
		ReadTimeout:       httpTimeout,
		WriteTimeout:      httpTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("http: %w", err)
	}
	return nil
}
