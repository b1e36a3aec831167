package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestCheck(t *testing.T) {
	r := request{statement{"", "SELECT"}, nil, []string{"tag", anything}, "SELECT 1"}
	row := func(values ...string) [][]byte { return texts(values) }
	for _, c := range []struct {
		name string
		rows [][][]byte
		tag  string
		want string
	}{
		{"right", [][][]byte{row("tag", "any")}, "SELECT 1", ""},
		{"another tag", [][][]byte{row("gat", "any")}, "SELECT 1", "instead of"},
		{"one column", [][][]byte{row("tag")}, "SELECT 1", "1 columns instead of 2"},
		{"no row", nil, "SELECT 1", "0 rows instead of one"},
		{"another command", [][][]byte{row("tag", "any")}, "UPDATE 1", `"UPDATE 1" instead of "SELECT 1"`},
	} {
		err := r.check(&pgconn.Result{Rows: c.rows, CommandTag: pgconn.NewCommandTag(c.tag)})
		var wrong *wrongAnswer
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	none := request{statement: statement{sql: "BEGIN"}}
	if err := none.check(&pgconn.Result{Rows: [][][]byte{row("x")}}); err == nil {
		t.Error("a row where none belongs is accepted")
	}
}

func TestInline(t *testing.T) {
	got := inline("SELECT $1, $2, $12", []string{"it's", "$1", "", "", "", "", "", "", "", "", "", "twelve"})
	if want := `SELECT 'it''s', '$1', 'twelve'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestCancelWindow: a cancel request counts from when it was sent until it was answered, and not after.
func TestCancelWindow(t *testing.T) {
	var c cancels
	before := time.Now()
	if was, _ := c.since(before); was {
		t.Error("none was sent")
	}
	c.begin()
	if was, _ := c.since(time.Now().Add(time.Hour)); !was {
		t.Error("one is under way")
	}
	c.end()
	if was, _ := c.since(before); !was {
		t.Error("one was under way since")
	}
	if was, _ := c.since(time.Now()); was {
		t.Error("it is over")
	}
}

// TestAuditFinds plants every kind of difference between books and tables.
func TestAuditFinds(t *testing.T) {
	b := &book{owner: 3}
	lost, double, undone, landed, gone, cut := b.begin(0), b.begin(0), b.begin(0), b.begin(0), b.begin(0), b.begin(5)
	b.set(lost, present)
	b.set(double, present)
	b.set(landed, unknown)
	b.set(gone, unknown)
	b.set(cut, present)
	f := newFaults(func(string, ...any) {})
	a := &audit{
		faults:  f,
		owners:  map[int]*book{3: b},
		history: map[token]int{double: 2, undone: 1, landed: 1},
		lines:   map[token]int{cut: 4},
	}
	a.compare(b)
	all := strings.Join(f.shown(), "\n")
	for _, want := range []string{
		"transaction 0 was acknowledged and is not there",
		"transaction 1 (acknowledged) has 2 rows instead of 1 or none",
		"transaction 2 was not committed and is there",
		"transaction 5 (acknowledged) has 4 rows instead of 5 or none",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("not found: %s", want)
		}
	}
	if f.count() != 4 || a.landed != 1 {
		t.Errorf("%d failures, %d landed:\n%s", f.count(), a.landed, all)
	}
	if a.known(token(3)<<32|6) || a.known(token(4)<<32) || !a.known(cut) {
		t.Error("tokens are not told from others")
	}
}

func TestReadMetrics(t *testing.T) {
	s := readMetrics(`# HELP sarnic_clients Clients logged in.
sarnic_clients 3
sarnic_pool_connections{database="a",state="busy",user="u"} 2
sarnic_pool_connections{database="a",state="idle",user="u"} 4
sarnic_pool_connections{database="b",state="idle",user="u"} 1
sarnic_loop_fibers{loop="0"} 1
sarnic_loop_fibers{loop="1"} 2
sarnic_loop_coroutines{loop="0"} 4
sarnic_loop_coroutines{loop="1"} 5
go_goroutines 17
go_memstats_heap_inuse_bytes 3.5e+06
`)
	if s.clients != 3 || s.servers["idle"] != 5 || s.fibers != 3 || s.coroutines != 9 || s.goroutines != 17 || s.heap != 3_500_000 || s.connected() != 7 {
		t.Errorf("got %+v", s)
	}
	if got, want := s.busy(), "3 clients, 2 connections busy, 3 fibers"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTrend(t *testing.T) {
	s := &soak{o: &options{memory: 1.2}, faults: newFaults(func(string, ...any) {})}
	for i := range 40 {
		s.trend = append(s.trend, sample{rss: 20 << 20, goroutines: 50 + 2*i})
	}
	s.compareTrend()
	if all := strings.Join(s.faults.shown(), "\n"); s.faults.count() != 1 || !strings.Contains(all, "goroutines grew") {
		t.Errorf("got %s", all)
	}
}
