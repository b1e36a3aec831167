package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy"
	"github.com/sarnicdb/sarnic/proxy/loop"
)

func get(t *testing.T, handler http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestProbes(t *testing.T) {
	h := newHealth()
	handler := endpoints(h, http.NotFoundHandler())
	expect := func(path string, wantCode int, wantBody string) {
		t.Helper()
		if code, body := get(t, handler, path); code != wantCode || body != wantBody {
			t.Errorf("%s: %d %q, want %d %q", path, code, body, wantCode, wantBody)
		}
	}
	expect("/livez", 200, "ok\n")
	expect("/readyz", 503, "not ready: starting\n")
	h.ready()
	expect("/readyz", 200, "ok\n")
	h.notReady("draining")
	expect("/readyz", 503, "not ready: draining\n")
	expect("/livez", 200, "ok\n")
	if code, _ := get(t, handler, "/"); code != 404 {
		t.Errorf("/: %d, want 404", code)
	}
}

func TestMetrics(t *testing.T) {
	logs := newLogWriter(&bytes.Buffer{})
	logs.dropped.Add(3)
	counters := &pool.Counters{}
	counters.WaitTime.Store(int64(1500 * time.Millisecond))
	stats := func() proxy.Stats {
		return proxy.Stats{
			Clients: 7,
			Pools:   []pool.Stats{{Database: "shop", User: "app", Idle: 2, Waiting: 4, OldestWait: time.Second, Counters: counters}},
			Loops:   []loop.Stats{{Turns: 11}},
		}
	}
	code, body := get(t, newMetrics(build{"v1", "abc", "go1"}, logs, stats), "/metrics")
	if code != 200 {
		t.Fatalf("%d\n%s", code, body)
	}
	for _, want := range []string{
		`sarnic_build_info{commit="abc",go="go1",version="v1"} 1`, "sarnic_log_lines_dropped_total 3", "go_goroutines ",
		"sarnic_clients 7", `sarnic_pool_connections{database="shop",state="idle",user="app"} 2`,
		`sarnic_pool_waiting_clients{database="shop",user="app"} 4`, `sarnic_pool_oldest_wait_seconds{database="shop",user="app"} 1`,
		`sarnic_pool_wait_seconds_total{database="shop",user="app"} 1.5`, `sarnic_loop_turns_total{loop="0"} 11`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
}
