package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func parse(t *testing.T, args ...string) *options {
	t.Helper()
	o, err := parseOptions(args, noEnv, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestDefaults(t *testing.T) {
	o := parse(t)
	if o.rounds != 5 || o.pool != 20 || o.idle != 5000 || o.base != targetPgBouncer {
		t.Errorf("%+v", o)
	}
	if n := len(o.plainCells()); n != 2*3*5+4 {
		t.Errorf("%d plain and reconnect cells", n)
	}
	if n := len(o.tlsCells()); n != 2*4 {
		t.Errorf("%d TLS cells", n)
	}
	if need := o.needFiles(); need < 5000 {
		t.Errorf("room for %d files", need)
	}
}

func TestQuickKeepsWhatIsGiven(t *testing.T) {
	o := parse(t, "-quick", "-rounds", "7", "-clients", "3")
	if o.rounds != 7 || !slices.Equal(o.clients, []int{3}) || o.seconds != 1 {
		t.Errorf("%+v", o.load)
	}
}

func TestCellsAreChosenByName(t *testing.T) {
	o := parse(t, "-cells", "^select/(simple|prepared)/16(/tls)?$")
	var names []string
	for _, c := range append(o.plainCells(), o.tlsCells()...) {
		names = append(names, c.String())
	}
	want := []string{"select/simple/16", "select/prepared/16", "select/simple/16/tls", "select/prepared/16/tls"}
	if !slices.Equal(names, want) {
		t.Errorf("got %v", names)
	}
}

func TestPgbouncerComesFromTheEnvironment(t *testing.T) {
	o, err := parseOptions(nil, func(name string) string { return "/from/" + name }, io.Discard)
	if err != nil || o.pgbouncer != "/from/PGBOUNCER" {
		t.Error(o, err)
	}
}

func TestBaseFallsBackToTheFirstTarget(t *testing.T) {
	if o := parse(t, "-targets", "sarnic", "-proxy", "old=/bin/old"); o.base != targetSarnic {
		t.Error(o.base)
	}
}

func TestWrongFlags(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-modes binary", "-modes"},
		{"-scripts tpch", "-scripts"},
		{"-only everything", "-only"},
		{"-targets odyssey", "-targets"},
		{"-targets ,", "nothing to measure"},
		{"-clients 0", "-clients"},
		{"-clients many", "-clients"},
		{"-cells (", "-cells"},
		{"-base nobody", "-base"},
		{"-auth kerberos", "-auth"},
		{"-rounds 0", "-rounds"},
		{"-proxy name", "not name=command"},
		{"-proxy direct=/bin/x", "taken"},
		{"-ab A=/bin/a", "two builds"},
		{"-ab A=/bin/a,A=/bin/b", "two builds"},
		{"-ab A=/bin/a,B=/bin/b -rounds 1", "confidence"},
		{"more", "unexpected argument"},
	} {
		_, err := parseOptions(strings.Fields(tt.args), noEnv, io.Discard)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.args, err)
		}
	}
}

func TestAbTakesMoreRoundsOfFewerPhases(t *testing.T) {
	o := parse(t, "-ab", "A=/bin/a,B=/bin/b")
	if o.rounds != 10 || !slices.Equal(o.only, []string{phasePlain}) {
		t.Errorf("%+v", o.load)
	}
	if p := o.proxies(); len(p) != 2 || p[1].name != "B" {
		t.Error(p)
	}
}

func TestCommandLine(t *testing.T) {
	sarnic := program{"sarnic", "/opt/sarnic"}
	if got := sarnic.full(); !strings.HasPrefix(got, "/opt/sarnic serve --upstream {dsn}") || !sarnic.offersTLS() {
		t.Error(got)
	}
	relay := program{"relay", "/opt/relay -port {port}"}
	if relay.full() != relay.command || relay.offersTLS() || relay.path() != "/opt/relay" {
		t.Error(relay)
	}
	if got := absolute("pgbouncer {ini}"); got != "pgbouncer {ini}" {
		t.Error(got)
	}
	if got := absolute("bin/sarnic"); !strings.HasPrefix(got, "/") || !strings.HasSuffix(got, "/bin/sarnic") {
		t.Error(got)
	}
}

func TestOldPgbouncer(t *testing.T) {
	err := checkPgbouncer("PgBouncer 1.18.0", []string{"simple", "prepared"})
	if err == nil || !strings.Contains(err.Error(), "PGBOUNCER") {
		t.Error(err)
	}
	if err := checkPgbouncer("PgBouncer 1.18.0", []string{"simple", "extended"}); err != nil {
		t.Error(err)
	}
	if err := checkPgbouncer("PgBouncer 1.25.2", []string{"prepared"}); err != nil {
		t.Error(err)
	}
	if err := checkPgbouncer("Odyssey 1.5", nil); err == nil {
		t.Error("Odyssey passed for PgBouncer")
	}
}
