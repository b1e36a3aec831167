package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shownListing makes a listing of a header and rows, whose values are separated by |.
func shownListing(header string, rows ...string) listing {
	l := listing{columns: make(map[string]int)}
	for i, name := range strings.Fields(header) {
		l.columns[name] = i
	}
	for _, row := range rows {
		l.rows = append(l.rows, strings.Split(row, "|"))
	}
	return l
}

const statsHeader = "database total_xact_count total_query_count total_received total_sent total_xact_time total_query_time total_wait_time " +
	"total_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent avg_xact_time avg_query_time avg_wait_time"

// busySample is a console in the middle of work.
func busySample(at time.Time, work int) sample {
	s := sample{at: at, version: "sarnic v1.2.3"}
	s.pools = shownListing("database user cl_active cl_waiting sv_active sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode",
		"shop|app|40|12|20|0|0|1|2|3|250000|transaction",
		"shop|reports|1|0|1|1|0|0|0|0|0|session",
		"a database whose name is very long indeed|a user with a long name|2000|0|0|5|5|0|0|0|0|statement",
		"漢字|app|1|0|0|1|0|0|0|0|0|transaction")
	s.stats = shownListing(statsHeader,
		fmt.Sprintf("shop|%d|%d|%d|%d|%d|%d|%d|%d|100|400|5000|70000|1500|900|10",
			1000*work, 4000*work, 50_000*work, 12_000_000*work, 3_000_000*work, 2_000_000*work, 500_000*work, 1000*work),
		"a database whose name is very long indeed|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0")
	s.pins = shownListing("database user client_pid server_pid reason seconds application_name",
		"shop|app|4711|123|temporary object, listen|75|worker",
		"shop|reports|4712|124|advisory lock|7200|nightly")
	s.clients = shownListing("database user state addr port wait wait_us request_time application_name",
		"shop|app|active|10.0.0.1|50001|0|0|2026-11-23 10:00:00 UTC|web",
		"shop|app|waiting|10.0.0.1|50002|3|250000|2026-11-23 10:00:01 UTC|web",
		"shop|app|idle|::1|50003|0|0|2026-11-23 09:00:00 UTC|\x1b]0;evil\a\x1b[2J",
		"shop|reports|active|unix|6432|0|0|2026-11-23 09:50:02 UTC|two\nlines")
	s.statements = shownListing("name database user uses servers query",
		fmt.Sprintf("s1|shop|app|%d|20|SELECT *\n  FROM orders WHERE id = $1", 900*work),
		"s2|shop|app|70000|3|UPDATE stock SET n = n - 1 WHERE id = $1 AND the_statement_is(longer, than, the, screen, is, wide)")
	return s
}

// busyScreen has seen two samples, a second apart.
func busyScreen() *topScreen {
	at := time.Date(2026, 11, 23, 10, 0, 5, 0, time.UTC)
	s := &topScreen{address: "127.0.0.1:6432", view: clientsView, order: byWait}
	s.take(busySample(at, 1))
	s.take(busySample(at.Add(time.Second), 2))
	return s
}

// TestTopScreens compares screens of several sizes with what stands in testdata/top. The last column is marked.
func TestTopScreens(t *testing.T) {
	for _, c := range []struct {
		name          string
		width, height int
		change        func(*topScreen)
	}{
		{"80x24", 80, 24, func(*topScreen) {}},
		{"120x30_by_name", 120, 30, func(s *topScreen) { s.order = byName }},
		{"80x24_pins", 80, 24, func(s *topScreen) { s.view, s.order = pinsView, byUse }},
		{"80x24_statements", 80, 24, func(s *topScreen) { s.view = statementsView }},
		{"40x12", 40, 12, func(*topScreen) {}},
		{"20x5", 20, 5, func(*topScreen) {}},
		{"80x24_first_look", 80, 24, func(s *topScreen) { s.before = sample{} }},
		{"80x24_lost", 80, 24, func(s *topScreen) { s.fault = "dial tcp 127.0.0.1:6432: connect: connection refused" }},
		{"80x24_paused_without_pins", 80, 24, func(s *topScreen) {
			s.now.paused, s.view, s.now.pins = true, pinsView, listing{refused: "invalid command 'SHOW PINS'"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := busyScreen()
			c.change(s)
			lines := s.lines(c.width, c.height)
			if len(lines) != c.height {
				t.Errorf("%d lines of %d", len(lines), c.height)
			}
			var text strings.Builder
			for _, line := range lines {
				if n := cells(line); n > c.width {
					t.Errorf("%d cells of %d: %s", n, c.width, line)
				}
				text.WriteString(line + strings.Repeat(" ", max(c.width-cells(line), 0)) + "|\n")
			}
			compare(t, filepath.Join("testdata", "top", c.name+".txt"), text.String())
		})
	}
}

func TestTopAtAnySize(t *testing.T) {
	s := busyScreen()
	for width := 1; width < 130; width++ {
		for height := 1; height < 40; height++ {
			lines := s.lines(width, height)
			if len(lines) != height {
				t.Fatalf("%dx%d: %d lines", width, height, len(lines))
			}
			for _, line := range lines {
				if cells(line) > width {
					t.Fatalf("%dx%d: %q", width, height, line)
				}
			}
		}
	}
}

func TestTopColours(t *testing.T) {
	s := busyScreen()
	if text := strings.Join(s.lines(80, 24), "\n"); strings.Contains(text, "\x1b") {
		t.Errorf("a command to the terminal without colours: %q", text)
	}
	s.paint.on = true
	text := strings.Join(s.lines(80, 24), "\n")
	for _, command := range strings.Split(text, "\x1b")[1:] {
		code, _, found := strings.Cut(command, "m")
		if !found || strings.Trim(code, "[0123456789;") != "" {
			t.Errorf("not a colour: %q", command)
		}
	}
	if !strings.Contains(text, "\x1b[33mwaiting") {
		t.Errorf("a client that waits is not to be seen: %q", text)
	}
}

func TestTopKeys(t *testing.T) {
	s := &topScreen{view: clientsView, order: byWait}
	for _, c := range []struct {
		key        byte
		done, look bool
		view       view
		order      order
	}{
		{'s', false, false, clientsView, byUse},
		{'s', false, false, clientsView, byName},
		{'s', false, false, clientsView, byWait},
		{'v', false, true, pinsView, byWait},
		{'\t', false, true, statementsView, byWait},
		{'v', false, true, clientsView, byWait},
		{' ', false, true, clientsView, byWait},
		{'x', false, false, clientsView, byWait},
		{'q', true, false, clientsView, byWait},
		{3, true, false, clientsView, byWait},
	} {
		if done, look := s.press(c.key); done != c.done || look != c.look || s.view != c.view || s.order != c.order {
			t.Errorf("%q: done %t, look %t, %s, %s", c.key, done, look, s.view, s.order)
		}
	}
	if keys := string(typed([]byte("sv\x1b[As"))); keys != "sv" {
		t.Errorf("typed %q", keys)
	}
}

func TestShortNumbersAndTimes(t *testing.T) {
	for n, want := range map[float64]string{
		0: "0", 3: "3", 0.25: "0.2", 9.94: "9.9", 12.4: "12", 999: "999", 999.6: "1.0k", 1234: "1.2k", 45_678: "46k", 1e6: "1.0M", 2.5e9: "2.5G", 7e12: "7T", 9e15: "9000T",
	} {
		if got := short(n); got != want {
			t.Errorf("%g: %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0", 15 * time.Microsecond: "15µs", 1500 * time.Microsecond: "1.5ms", 150 * time.Millisecond: "150ms", 12300 * time.Millisecond: "12.3s",
		75 * time.Second: "1m15s", 2 * time.Hour: "2h00m", 100 * time.Hour: "100h00m",
	} {
		if got := brief(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

// TestTopCountsAnew: after a restart the totals are less than before.
func TestTopCountsAnew(t *testing.T) {
	at := time.Date(2026, 11, 23, 10, 0, 5, 0, time.UTC)
	p := period{before: busySample(at, 5), now: busySample(at.Add(2*time.Second), 1)}
	if f := p.flow(p.now.stats.rows[0]); f.transactions != 100 || f.query != 900*time.Microsecond {
		t.Errorf("not the console's own averages: %+v", f)
	}
	p.before = busySample(at, 0)
	if f := p.flow(p.now.stats.rows[0]); f.transactions != 500 || f.queries != 2000 || f.query != 500*time.Microsecond || f.transaction != 3*time.Millisecond {
		t.Errorf("%+v", f)
	}
}

func TestTopRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for _, args := range [][]string{
		{"top"},
		{"top", "a=b", "c=d"},
		{"top", "--sort", "size", "host=x"},
		{"top", "--view", "servers", "host=x"},
		{"top", "--interval", "1ms", "host=x"},
		{"top", "postgres://u:hunter2@h:port/"},
	} {
		code, stdout, stderr := invoke(t, nil, args...)
		if code != exitUsage || stdout != "" || strings.Contains(stderr, secret) {
			t.Errorf("%q: exit code %d, %q", args, code, stderr)
		}
	}
	code, _, stderr := invoke(t, nil, "top", "--once", "postgres://u:hunter2@127.0.0.1:1/sarnic?sslmode=disable")
	if code != exitFailure || !strings.Contains(stderr, "connection refused") || strings.Contains(stderr, secret) {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}
