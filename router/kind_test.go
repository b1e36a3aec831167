package router

import (
	"strings"
	"testing"
)

// TestKindsHaveNames checks that each kind has words of its own, and that the golden files have each.
func TestKindsHaveNames(t *testing.T) {
	seen := make(map[string]Kind)
	var golden strings.Builder
	for _, name := range []string{"settings", "calls", "statements"} {
		for _, block := range goldenBlocks(t, "testdata/"+name+".txt") {
			golden.WriteString("\n" + block.want + "\n")
		}
	}
	for k := range CopyOut + 1 {
		words := k.String()
		if first, twice := seen[words]; twice || words == "" || words == "unknown" {
			t.Errorf("kind %d is %q, as is %d", k, words, first)
		}
		seen[words] = k
		if !strings.Contains(golden.String(), words) {
			t.Errorf("no golden text has %q", words)
		}
	}
	if beyond := CopyOut + 1; beyond.String() != "unknown" {
		t.Errorf("a kind that is none is %q", beyond)
	}
	for kind, words := range map[Kind]string{
		Set: "SET", SetConfigLocal: "set_config for the transaction", Begin: "BEGIN", RollbackPrepared: "ROLLBACK PREPARED",
		CloseAll: "CLOSE ALL", DiscardTemp: "DISCARD TEMP", Notify: "NOTIFY", SessionView: "view of the session",
		CancelBackend: "pg_cancel_backend", RunsText: "function that runs a text", CopyOut: "COPY TO STDOUT",
	} {
		if kind.String() != words {
			t.Errorf("%d is %q, not %q", kind, kind, words)
		}
	}
}

// TestFlatTextsAreLow checks the short cut past the tokens against the tokens.
func TestFlatTextsAreLow(t *testing.T) {
	flats := 0
	for n := 1; n < 200; n += 3 {
		for name, sql := range towers(n) {
			if !flat(sql) {
				continue
			}
			flats++
			if height := measureOf(parser.tokens(sql)); height > maxHeight {
				t.Errorf("%s of %d is called flat and is %d high", name, n, height)
			}
		}
	}
	if flats == 0 {
		t.Error("nothing is flat")
	}
}

// TestLongestOperator checks the run that is found.
func TestLongestOperator(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a": 0, "a+b": 1, "a <-> b": 3, "+- +-+": 3, "---": 3, "'====' =": 4, "é+é": 1} {
		if got := longestOperator(text); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}

// TestSpans checks what a span of a text is.
func TestSpans(t *testing.T) {
	if s := (Span{At: 1, End: 3}); s.In("abcd") != "bc" || s.Empty() {
		t.Error(s)
	}
	if s := (Span{}); s.In("abcd") != "" || !s.Empty() {
		t.Error(s)
	}
}
