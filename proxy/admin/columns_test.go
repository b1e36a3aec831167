package admin

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// expected is one SHOW of testdata/columns.txt.
type expected struct {
	name, columns string
	rows          []string // the first column of each, where these never change
}

func readExpected(t *testing.T) []expected {
	t.Helper()
	b, err := os.ReadFile("testdata/columns.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []expected
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"), line == "---":
		case strings.HasPrefix(line, "  "):
			last := &all[len(all)-1]
			last.rows = append(last.rows, line[2:])
		default:
			name, columns, _ := strings.Cut(line, ": ")
			all = append(all, expected{name: name, columns: columns})
		}
	}
	return all
}

// written is a RowDescription as the file has it.
func written(t *testing.T, fields []pgconn.FieldDescription, format int16) string {
	t.Helper()
	var all []string
	for _, f := range fields {
		letter := map[uint32]string{25: "s", 23: "i", 20: "q", 1700: "N", 17: "b"}[f.DataTypeOID]
		size := map[string]int16{"s": -1, "i": 4, "q": 8, "N": -1, "b": -1}[letter]
		if f.DataTypeSize != size || f.TypeModifier != -1 || f.TableOID != 0 || f.Format != format {
			t.Errorf("column %s: %+v", f.Name, f)
		}
		all = append(all, f.Name+" "+letter)
	}
	return strings.Join(all, ", ")
}

// TestEveryShowHasItsColumns holds each SHOW against PgBouncer's columns, their order and their types, in the simple and in
// the extended protocol.
func TestEveryShowHasItsColumns(t *testing.T) {
	r := start(t, full())
	c := r.connect()
	all := readExpected(t)
	for _, want := range all {
		columns, first := look(t, c.Exec(testContext(t), "SHOW "+want.name))
		if columns != want.columns {
			t.Errorf("SHOW %s:\n%s\nwant\n%s", want.name, columns, want.columns)
		}
		if want.rows != nil && !slices.Equal(first, want.rows) {
			t.Errorf("SHOW %s: rows %q, want %q", want.name, first, want.rows)
		}
		rr := c.ExecParams(testContext(t), "SHOW "+strings.ToLower(want.name)+";", nil, nil, nil, []int16{1})
		columns, n := written(t, rr.FieldDescriptions(), 1), len(rr.Read().Rows)
		if columns != want.columns || n != len(first) {
			t.Errorf("SHOW %s by the extended protocol: %s, %d rows instead of %d", want.name, columns, n, len(first))
		}
	}
	if len(all) != len(views("")) {
		t.Errorf("%d SHOWs are expected, there are %d", len(all), len(views("")))
	}
}

// look reads a result: its columns, and the first value of each row.
func look(t *testing.T, results *pgconn.MultiResultReader) (columns string, first []string) {
	t.Helper()
	for results.NextResult() {
		rr := results.ResultReader()
		columns = written(t, rr.FieldDescriptions(), 0)
		for rr.NextRow() {
			first = append(first, string(rr.Values()[0]))
		}
		if tag, err := rr.Close(); err != nil || tag.String() != "SHOW" {
			t.Errorf("tag %q, %v", tag, err)
		}
	}
	if err := results.Close(); err != nil {
		t.Error(err)
	}
	return columns, first
}
