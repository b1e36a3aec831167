package router

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what is found into testdata as what is wanted")

// TestGolden reads testdata: a text, a line of dashes, its verdict, an empty line.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	var out strings.Builder
	for _, block := range goldenBlocks(t, file) {
		got := render(block.sql, Analyze(block.sql))
		if got != block.want && !*rewrite {
			t.Errorf("%s\n got:\n%s\nwant:\n%s", block.sql, got, block.want)
		}
		fmt.Fprintf(&out, "%s\n----\n%s\n\n", block.sql, got)
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(strings.TrimSuffix(out.String(), "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

type goldenBlock struct{ sql, want string }

func goldenBlocks(t testing.TB, file string) []goldenBlock {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []goldenBlock
	for text := range strings.SplitSeq(string(content), "\n\n") {
		sql, want, found := strings.Cut(strings.TrimRight(text, "\n"), "\n----\n")
		if !found && !*rewrite {
			t.Fatalf("%s: no verdict for %q", file, text)
		}
		blocks = append(blocks, goldenBlock{sql: sql, want: want})
	}
	return blocks
}

// render is a verdict as the golden files show it.
func render(sql string, v *Verdict) string {
	if !v.Parsed {
		return "not understood"
	}
	if len(v.Parts) == 0 {
		return "nothing"
	}
	var lines []string
	for _, p := range v.Parts {
		lines = append(lines, renderPart(sql, v, p)...)
	}
	return strings.Join(lines, "\n")
}

func renderPart(sql string, v *Verdict, p Part) []string {
	line := p.Kind.String()
	if v.Count > 1 {
		line = fmt.Sprintf("%d: %s", p.Stmt, line)
	}
	if p.Name != "" {
		line += " name=" + p.Name
	}
	if p.HasValue || p.Value != "" {
		line += fmt.Sprintf(" value=%q", p.Value)
		if !p.HasValue {
			line += "?"
		}
	}
	if p.Text != "" {
		line += fmt.Sprintf(" text=%q", p.Text)
	}
	for _, n := range []struct {
		name string
		n    int
	}{{"arg", p.Arg}, {"valuearg", p.ValueArg}, {"localarg", p.LocalArg}, {"pid", p.PID}} {
		if n.n != 0 {
			line += fmt.Sprintf(" %s=%d", n.name, n.n)
		}
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"unknown", p.Unknown},
		{"harmless", p.Harmless},
		{"alone", p.Alone},
		{"names", p.Names},
		{"from", p.From},
		{"once", p.Once},
		{"stored", p.Stored},
	} {
		if f.set {
			line += " " + f.name
		}
	}
	if at := sql[p.At:p.End]; at != strings.TrimSpace(sql) {
		line += " at {" + at + "}"
	}
	if !p.Args.Empty() {
		line += " args {" + p.Args.In(sql) + "}"
	}
	lines := []string{line}
	if p.Inner != nil {
		body := p.Body.In(sql)
		lines[0] += " body {" + body + "}"
		for inner := range strings.SplitSeq(render(body, p.Inner), "\n") {
			lines = append(lines, "  inner: "+inner)
		}
	}
	return lines
}
