package admin

import (
	"fmt"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for sql, want := range map[string]string{
		"":                      "",
		" ;; \n":                "",
		"a b; c":                "a b|c",
		"a ';' b":               "a 't;' b",
		`a "x"";" b;c`:          `a "x";" b|c`,
		"a -- ; b\n c":          "a c",
		"a -- b":                "a",
		"a /* ; /* x */ ; */ b": "a b",
		"a /*/ b */ c":          "a c",
		"a /* b":                "a !",
		"a 'b":                  "a !",
		"a $1":                  "a $1",
		"a $x":                  "a $ x",
		"'it''s'":               "'tit's'",
		"pool.size=5":           "pool . size = 5",
		"größe":                 "größe",
		"\x00":                  "\x00",
	} {
		var all []string
		for _, c := range split(sql) {
			var words []string
			for _, tok := range c.tokens {
				switch tok.kind {
				case text:
					words = append(words, "'t"+tok.text+"'")
				case name:
					words = append(words, `"`+tok.text+`"`)
				case broken:
					words = append(words, "!")
				default:
					words = append(words, tok.text)
				}
			}
			all = append(all, strings.Join(words, " "))
		}
		if got := strings.Join(all, "|"); got != want {
			t.Errorf("%q: %q, want %q", sql, got, want)
		}
	}
}

// FuzzParse wants every text either understood or refused with an error that can be told, and cut at the same places however
// often it is cut.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"SHOW LISTS; SHOW POOLS", `PAUSE "a""b"`, "SET x = 'y'", "SELECT 1, 'a' AS b, version()", "/* /* */ */ --\n$1", "SELECT * FROM stats", "KILL_CLIENT 7",
	} {
		f.Add(seed)
	}
	s := &session{console: Console{Version: "v1"}, views: views("v1"), status: 'I'}
	f.Fuzz(func(t *testing.T, sql string) {
		for _, c := range split(sql) {
			if len(c.tokens) == 0 {
				t.Fatal("an empty statement")
			}
			st, e := s.parse(c)
			if (st == nil) == (e == nil) {
				t.Fatalf("%q: %v, %v", c.text, st, e)
			}
			if e != nil && (len(e.Code) != 5 || e.Message == "") {
				t.Fatalf("%q: %+v", c.text, e)
			}
			if c.tokens[len(c.tokens)-1].kind == broken {
				continue // its end is not shown as it was
			}
			again := split(c.text)
			if len(again) != 1 || fmt.Sprint(again[0].tokens) != fmt.Sprint(c.tokens) {
				t.Fatalf("%q is cut again into %v", c.text, again)
			}
		}
	})
}
