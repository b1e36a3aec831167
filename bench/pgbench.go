package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// pgbench runs the program of that name.
type pgbench struct {
	path    string
	dir     string // for its log files
	jobs    int    // threads; 0: one per core
	pool    int    // server connections behind a proxy
	seconds int
	connect map[connectKey]time.Duration // how long connecting took the last time
}

// connectKey is what the time to connect all clients depends on.
type connectKey struct {
	target  string
	tls     bool
	clients int
}

// sample is one measurement: one target, one cell, one round.
type sample struct {
	Transactions int64   `json:"transactions"`
	TPS          float64 `json:"tps"`
	P50          float64 `json:"p50_us"` // of transactions alone, also in the reconnect cells
	P99          float64 `json:"p99_us"`
	Connect      float64 `json:"connect_us,omitempty"`             // mean time to connect, in the reconnect cells
	CPU          float64 `json:"cpu_us_per_transaction,omitempty"` // 0 for the server itself
	RSS          float64 `json:"rss_bytes,omitempty"`              // 0 for the server itself
}

// initialise creates and fills pgbench's tables.
func (p pgbench) initialise(ctx context.Context, t target, scale int) error {
	cmd := p.command(ctx, t, "-i", "-q", "-s", strconv.Itoa(scale), benchUser)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pgbench -i: %w: %s", err, lastLines(text))
	}
	return nil
}

// measure runs c against t. The seed makes every target see the same sequence of rows. pgbench's clock already runs while
// its clients connect, so they get that time on top; where it was too little, the run is repeated.
func (p pgbench) measure(ctx context.Context, c cell, t target, seed int) (sample, error) {
	key := connectKey{t.name, t.tls, c.Clients}
	if _, ok := p.connect[key]; !ok {
		p.connect[key] = time.Duration(c.Clients) * 4 * time.Millisecond
	}
	const attempts = 4
	for n := 1; ; n++ {
		s, err := p.once(ctx, c, t, seed, p.seconds+int(math.Ceil(p.connect[key].Seconds())))
		if n < attempts && errors.Is(err, errTooShort) {
			p.connect[key] = 2*p.connect[key] + time.Second
			continue
		}
		return s, err
	}
}

// errTooShort is a run whose clients connected so slowly that less than half of the wanted time was left.
var errTooShort = errors.New("connecting took too much of the time")

func (p pgbench) once(ctx context.Context, c cell, t target, seed, seconds int) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+time.Minute)
	defer cancel()
	logs, err := os.MkdirTemp(p.dir, "transactions-")
	if err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(logs)
	track, err := trackCPU(t)
	if err != nil {
		return sample{}, err
	}
	defer track.stop()
	out, err := p.run(ctx, c, t, seed, seconds, filepath.Join(logs, "log"))
	if err != nil {
		return sample{}, err
	}
	track.stop()
	s, err := parseReport(out)
	if err != nil {
		return s, err
	}
	times, err := readLogs(logs)
	if err != nil {
		return s, err
	}
	if !c.Reconnect {
		p.connect[connectKey{t.name, t.tls, c.Clients}] = connectTime(out)
		if times.last-times.first < int64(p.seconds)*1e6/2 {
			return s, errTooShort
		}
	}
	return s, s.complete(c, t, times, track)
}

func (p pgbench) run(ctx context.Context, c cell, t target, seed, seconds int, prefix string) (string, error) {
	args := []string{
		"-n", "-b", c.builtin(), "-M", c.Mode, "-c", strconv.Itoa(c.Clients), "-j", strconv.Itoa(p.threads(c)),
		"-T", strconv.Itoa(seconds), "--random-seed=" + strconv.Itoa(seed),
		"-l", "--log-prefix=" + prefix, "--sampling-rate=" + c.logRate(),
	}
	if c.Reconnect {
		args = append(args, "-C")
	}
	cmd := p.command(ctx, t, append(args, benchUser)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("pgbench: %w: %s", err, lastLines(stderr.Bytes()))
	}
	return stdout.String(), nil
}

func (p pgbench) command(ctx context.Context, t target, args ...string) *exec.Cmd {
	where := []string{"-h", "127.0.0.1", "-p", strconv.Itoa(t.port), "-U", benchUser}
	cmd := exec.CommandContext(ctx, p.path, append(where, args...)...)
	cmd.Dir = p.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + p.dir, "PGPASSWORD=" + benchPassword,
		"PGSSLMODE=" + t.sslmode(), "PGGSSENCMODE=disable", "PGCONNECT_TIMEOUT=30",
	}
	return cmd
}

// threads is one per core, with one exception. pgbench prepares statements with a blocking call, before the BEGIN: with more
// clients than server connections, a thread would wait there for a connection that its own other clients hold in their
// transactions, for ever and behind any pooler. With a thread per client nobody waits for himself.
func (p pgbench) threads(c cell) int {
	if c.Script == scriptTPCB && c.Mode == "prepared" && c.Clients > p.pool {
		return c.Clients
	}
	jobs := p.jobs
	if jobs == 0 {
		jobs = runtime.NumCPU()
	}
	return min(jobs, c.Clients)
}

// complete adds what pgbench's summary does not have.
func (s *sample) complete(c cell, t target, times logTimes, track *cpuTrack) error {
	if len(times.latencies) == 0 {
		return fmt.Errorf("pgbench logged no transaction of %d", s.Transactions)
	}
	slices.Sort(times.latencies)
	s.P50, s.P99 = percentile(times.latencies, 0.50), percentile(times.latencies, 0.99)
	if t.proc == nil {
		return nil
	}
	from, to := times.first, times.last
	if c.Reconnect { // logging in is what is measured
		from, to = track.span()
	}
	used, err := track.between(from, to)
	if err != nil {
		return err
	}
	s.CPU = float64(used.Nanoseconds()) / 1e3 / float64(s.Transactions)
	size, err := t.rss()
	s.RSS = float64(size)
	return err
}

// parseReport reads what pgbench prints at the end. A run with failed transactions or lost clients is no measurement.
func parseReport(out string) (sample, error) {
	var s sample
	var err error
	if s.Transactions, err = strconv.ParseInt(reportField(out, `number of transactions actually processed: (\d+)`), 10, 64); err != nil {
		return s, fmt.Errorf("pgbench printed no number of transactions: %s", out)
	}
	if s.Transactions == 0 {
		return s, errTooShort
	}
	if s.TPS, err = strconv.ParseFloat(reportField(out, `tps = ([0-9.]+) \((?:without initial|including reconn)`), 64); err != nil {
		return s, fmt.Errorf("pgbench printed no tps: %s", out)
	}
	if failed := reportField(out, `number of failed transactions: (\d+)`); failed != "" && failed != "0" {
		return s, fmt.Errorf("%s transactions failed", failed)
	}
	if text := reportField(out, `average connection time = ([0-9.]+) ms`); text != "" {
		ms, err := strconv.ParseFloat(text, 64)
		s.Connect = ms * 1e3
		return s, err
	}
	return s, nil
}

// connectTime is how long it took until all clients were connected.
func connectTime(out string) time.Duration {
	ms, err := strconv.ParseFloat(reportField(out, `initial connection time = ([0-9.]+) ms`), 64)
	if err != nil {
		return 0
	}
	return time.Duration(ms * float64(time.Millisecond))
}

func reportField(out, pattern string) string {
	if m := regexp.MustCompile(pattern).FindStringSubmatch(out); m != nil {
		return m[1]
	}
	return ""
}

// logTimes is what the transaction logs of one run say; times are microseconds, wall clock since 1970.
type logTimes struct {
	latencies   []int64
	first, last int64 // start of the first logged transaction, end of the last
}

// readLogs reads all files of dir: pgbench writes one per thread.
func readLogs(dir string) (logTimes, error) {
	var t logTimes
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return t, err
	}
	for _, name := range files {
		if err := t.read(name); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (t *logTimes) read(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if err := t.add(lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}

// add takes one line: client, transaction, latency in µs, script, then the end as seconds and microseconds.
func (t *logTimes) add(line string) error {
	f := strings.Fields(line)
	if len(f) < 6 {
		return fmt.Errorf("pgbench's log has the line %q", line)
	}
	var n [3]int64
	for i, at := range [...]int{2, 4, 5} {
		v, err := strconv.ParseInt(f[at], 10, 64)
		if err != nil {
			return fmt.Errorf("pgbench's log has the line %q: %w", line, err)
		}
		n[i] = v
	}
	latency, end := n[0], n[1]*1e6+n[2]
	if begin := end - latency; len(t.latencies) == 0 || begin < t.first {
		t.first = begin
	}
	t.last = max(t.last, end)
	t.latencies = append(t.latencies, latency)
	return nil
}

func lastLines(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}
