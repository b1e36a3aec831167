package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// sample is what sarnic and the system say about the process at one time.
type sample struct {
	at          time.Time
	version     string // of sarnic
	clients     int
	servers     map[string]int // connections of the pool by state
	waiting     int
	fibers      int
	coroutines  int         // of the fibers lent, and kept for the next request
	loops       map[int]int // connections by loop
	goroutines  int
	descriptors int
	rss         int64
	heap        int64
	dials       int
	requests    int
	slowTurns   int
}

// get fetches a page over a connection of its own, so that none is left in what is measured.
func get(ctx context.Context, url string) (string, error) {
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, response.Status)
	}
	return string(body), err
}

// sample looks at the process now.
func (p *proxy) sample(ctx context.Context) (sample, error) {
	text, err := get(ctx, p.metrics+"/metrics")
	if err != nil {
		return sample{}, err
	}
	s := readMetrics(text)
	s.at = time.Now()
	var rssErr, fdErr error
	s.rss, rssErr = residentSet(p.PID())
	s.descriptors, fdErr = descriptors(p.PID())
	return s, errors.Join(rssErr, fdErr)
}

// readMetrics adds up what is told per pool and per loop.
func readMetrics(text string) sample {
	s := sample{servers: make(map[string]int), loops: make(map[int]int)}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		x, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue // a comment
		}
		name, labels, _ := strings.Cut(key, "{")
		n := int(x)
		switch name {
		case "sarnic_build_info":
			s.version = label(labels, "version")
		case "sarnic_clients":
			s.clients += n
		case "sarnic_pool_connections":
			s.servers[label(labels, "state")] += n
		case "sarnic_pool_waiting_clients":
			s.waiting += n
		case "sarnic_pool_dials_total":
			s.dials += n
		case "sarnic_pool_requests_total":
			s.requests += n
		case "sarnic_loop_fibers":
			s.fibers += n
		case "sarnic_loop_coroutines":
			s.coroutines += n
		case "sarnic_loop_connections":
			if loop, err := strconv.Atoi(label(labels, "loop")); err == nil {
				s.loops[loop] = n
			}
		case "sarnic_loop_slow_turns_total":
			s.slowTurns += n
		case "go_goroutines":
			s.goroutines = n
		case "go_memstats_heap_inuse_bytes":
			s.heap = int64(x)
		}
	}
	return s
}

func label(labels, name string) string {
	_, rest, _ := strings.Cut(labels, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// connected is every server connection that sarnic counts.
func (s sample) connected() int {
	n := 0
	for _, count := range s.servers {
		n += count
	}
	return n
}

// busy says what keeps the process from being quiet; "" is quiet.
func (s sample) busy() string {
	var why []string
	for _, what := range []struct {
		name string
		n    int
	}{
		{"clients", s.clients},
		{"connections connecting", s.servers["connecting"]},
		{"connections busy", s.servers["busy"]},
		{"connections resetting", s.servers["resetting"]},
		{"clients waiting", s.waiting},
		{"fibers", s.fibers},
	} {
		if what.n != 0 {
			why = append(why, fmt.Sprintf("%d %s", what.n, what.name))
		}
	}
	return strings.Join(why, ", ")
}
