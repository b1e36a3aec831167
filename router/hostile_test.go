package router

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// towers are texts whose tree is about n levels high, each in another way.
func towers(n int) map[string]string {
	up := strings.Repeat
	return map[string]string{
		"operators":      "SELECT 1" + up("+1", n),
		"signs":          "SELECT " + up("+-", n/2) + "1",
		"spaced signs":   "SELECT " + up("- ", n) + "a",
		"not":            "SELECT " + up("NOT ", n) + "a",
		"functions":      "SELECT " + up("f(", n) + "1" + up(")", n),
		"rows":           "SELECT " + up("ROW(", n) + "1" + up(")", n),
		"arrays":         "SELECT ARRAY" + up("[", n) + "1" + up("]", n),
		"subscripts":     "SELECT " + up("a[", n) + "1" + up("]", n),
		"casts":          "SELECT 1" + up("::int", n),
		"collations":     "SELECT a" + up(` COLLATE "C"`, n),
		"time zones":     "SELECT a" + up(" AT TIME ZONE b", n),
		"custom":         "SELECT a" + up(" OPERATOR(pg_catalog.+) a", n),
		"sub-selects":    "SELECT " + up("(SELECT ", n) + "1" + up(")", n),
		"tables":         up("SELECT * FROM (", n) + "SELECT 1" + up(") x", n),
		"labels":         up("SELECT 1 AS end FROM (", n) + "SELECT 1" + up(") x", n),
		"cases":          "SELECT " + up("CASE WHEN ", n) + "true" + up(" THEN 1 END", n),
		"cases of ends":  "SELECT " + up("CASE WHEN a.end THEN ", n) + "1" + up(" END", n),
		"else":           "SELECT " + up("CASE WHEN a AND b THEN 1 ELSE ", n) + "1" + up(" END", n),
		"joins":          "SELECT FROM a " + up("JOIN b ON a, b ", n) + " JOIN c ON true",
		"joins of lists": "SELECT FROM a " + up("JOIN b ON f(1, 2) AND true ", n),
		"left joins":     "SELECT FROM a " + up("NATURAL LEFT JOIN b ", n),
		"unions":         "SELECT 1, 2 " + up("UNION ALL SELECT 1, 2 ", n),
		"mixed sets":     "SELECT 1, 2 " + up("EXCEPT SELECT 1, 2 INTERSECT SELECT 3, 4 ", n/2),
		"values":         "VALUES (1, 2) " + up("UNION VALUES (1, 2), (3, 4)", n),
		"with":           up("WITH x AS (", n) + "SELECT 1" + up(") SELECT 1", n),
		"like":           "SELECT " + up("(a LIKE ", n) + "a" + up(")", n),
		"in":             "SELECT " + up("a IN (1, ", n) + "1" + up(")", n),
		"late chains":    "SELECT " + up("(", n/10) + "1" + up("+1+1+1+1+1+1+1+1+1+1)", n/10),
		"commas in text": "SELECT 1" + up("||'a, b'", n),
		"dollars":        "SELECT 1" + up("||$$a, b$$", n),
		"comments":       "SELECT 1" + up("+ /* , */ 1", n),
		"names":          "SELECT 1" + up(`+"a,b"`, n),
		"escapes":        "SELECT 1" + up(`||E'\', '`, n),
		"json":           "SELECT a" + up("->'b'", n),
		"is":             "SELECT " + up("(", n) + "a" + up(" IS NULL)", n),
		"quantifiers":    "SELECT " + up("a = ANY(", n) + "b" + up(")", n),
		"between":        "SELECT " + up("a BETWEEN b AND (", n) + "c" + up(")", n),
		"default":        "CREATE TABLE t (a int DEFAULT (1" + up("+1", n) + "))",
		"explain":        "EXPLAIN SELECT " + up("- ", n) + "a",
		"and in cases":   "SELECT " + up("CASE WHEN a THEN b AND ", n) + "c" + up(" END", n),
		"xml":            "SELECT " + up("XMLCONCAT(", n) + "a" + up(")", n),
	}
}

// TestHighTreesAreRefused checks that no text reaches the grammar that would be too much for its stack, and that the grammar
// is well after those that do.
func TestHighTreesAreRefused(t *testing.T) {
	for name, sql := range towers(100_000) {
		start := time.Now()
		if v := Analyze(sql); v.Parsed {
			t.Errorf("%s: a tree of 100 000 levels was taken", name)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: %d bytes kept the grammar busy for %v", name, len(sql), took)
		}
		if !Working() || !Analyze("SELECT 1").Parsed {
			t.Fatalf("%s: the grammar is broken", name)
		}
	}
}

// TestMediumTreesAreTaken checks that the bound is far above what people write, and below what the grammar bears.
func TestMediumTreesAreTaken(t *testing.T) {
	for _, n := range []int{10, 20, 50} {
		for name, sql := range towers(n) {
			v := Analyze(sql)
			if name == "joins" { // is not SQL
				continue
			}
			if !v.Parsed {
				t.Errorf("%s of %d: not taken", name, n)
			}
		}
	}
	for n := 60; n <= 1000; n += 20 {
		for name, sql := range towers(n) {
			Analyze(sql)
			if !Working() || !Analyze("SELECT 1").Parsed {
				t.Fatalf("%s of %d: the grammar is broken", name, n)
			}
		}
	}
}

// TestTimeIsBounded checks that no text keeps the grammar busy much longer than its length explains.
func TestTimeIsBounded(t *testing.T) {
	up := strings.Repeat
	for name, sql := range map[string]string{
		"operators":    up(up("+-", 128)+" 1 ", 800),
		"operators 2":  up("@", 200_000),
		"long tags":    "SELECT " + up("$"+up("a", 1000)+"$ $b$ ", 200),
		"open tags":    "SELECT $a$ " + up("$a ", 70_000),
		"dollars":      "SELECT $a$" + up("$", 200_000),
		"numbers":      "SELECT 1" + up("e1", 100_000),
		"names":        "SELECT " + up("a", 200_000),
		"dots":         "SELECT a" + up(".a", 100_000),
		"quotes":       "SELECT " + up("''", 100_000),
		"continued":    "SELECT 'a'" + up("\n'a'", 40_000),
		"escapes":      "SELECT E'" + up(`\u0061`, 30_000) + "'",
		"half escapes": "SELECT U&'" + up(`\0061`, 30_000) + "'",
		"comments":     up("/*", 100_000) + up("*/", 100_000),
		"open":         up("/*", 100_000),
		"brackets":     up("[", 50_000) + up(")", 50_000),
		"ends":         up("CASE ", 30_000) + up(") ", 50_000),
		"wrong":        up("SELECT 1; ", 20_000) + "SELEKT",
		"calls":        "SELECT 1" + up(", pg_backend_pid()", 10_000),
		"sets":         up("SET a.b = 1; ", 10_000),
		"paths":        "SET search_path = a" + up(`, "b"`, 10_000),
		"temporary":    "SELECT 1 FROM pg_temp.a" + up(", pg_temp.b", 10_000),
		"prepares":     up("PREPARE a AS SELECT 1; ", 3_000),
		"labels":       "SELECT" + up(" 1 a,", 30_000) + " 1",
	} {
		start := time.Now()
		Analyze(sql)
		took := time.Since(start)
		if took > 10*time.Second {
			t.Errorf("%s: %d bytes took %v", name, len(sql), took)
		}
		t.Log(name, len(sql), took)
	}
	if !Working() {
		t.Error("the grammar is broken")
	}
	start := time.Now()
	for range 100 {
		Analyze("SELECT 1")
	}
	if took := time.Since(start) / 100; took > 10*time.Millisecond {
		t.Errorf("a small text takes %v after all that", took)
	} else {
		t.Logf("a small text takes %v after all that", took)
	}
}

// TestHeightIsBounded compares the bound by tokens with the tree itself.
func TestHeightIsBounded(t *testing.T) {
	worst, where := 0.0, ""
	check := func(name, sql string) {
		ts := parser.tokens(sql)
		tree := parser.tree(sql)
		if tree == nil || ts == nil {
			return
		}
		real := height(tree.ProtoReflect()) / 2 // a node is two messages
		m := measureOf(ts)
		if ratio := float64(real) / float64(m+10); ratio > worst {
			worst, where = ratio, fmt.Sprintf("%s: %d by tokens, %d in the tree", name, m, real)
		}
	}
	for _, n := range []int{20, 50, 200} {
		for name, sql := range towers(n) {
			check(name, sql)
		}
	}
	for _, sql := range cases(t, "settings", "calls", "statements") {
		check(sql, sql)
	}
	t.Log("worst:", worst, where)
	if worst > 2 {
		t.Error("a tree is much higher than its tokens say")
	}
}

func height(m protoreflect.Message) int {
	highest := 0
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil:
		case field.IsList():
			for i, list := 0, value.List(); i < list.Len(); i++ {
				highest = max(highest, height(list.Get(i).Message()))
			}
		default:
			highest = max(highest, height(value.Message()))
		}
		return true
	})
	return highest + 1
}

// TestWideTextsAreTaken checks that size alone is no reason to refuse.
func TestWideTextsAreTaken(t *testing.T) {
	many := strings.Repeat
	for name, sql := range map[string]string{
		"values":     "INSERT INTO t VALUES (1, 'a')" + many(", (2, 'b' || $1)", 5000),
		"in":         "SELECT * FROM t WHERE a IN (1" + many(", 2", 20000) + ")",
		"or":         "SELECT * FROM t WHERE a = 1" + many(" OR a = 2 AND b = 3", 3000),
		"short":      "SELECT " + many("- ", 290) + "a",
		"statements": many("SELECT a + b FROM t WHERE c = d;", 3000),
		"columns":    "SELECT 1" + many(", a + b * c AS d", 5000),
		"when":       "SELECT CASE" + many(" WHEN a = 1 THEN b", 3000) + " END",
		"unions":     "SELECT 1" + many(" UNION ALL SELECT a FROM b WHERE c = d", 200),
		"literal":    "SELECT '" + many("a + b (", 50000) + "'",
		"comment":    "SELECT 1 /* " + many("a + b (", 50000) + "*/",
		"joins":      "SELECT * FROM a" + many(" LEFT JOIN b ON a.x = b.y AND b.z = 1", 100),
	} {
		if v := Analyze(sql); !v.Parsed {
			t.Errorf("%s: not taken", name)
		}
	}
}

// TestUnreadable checks what is refused unread.
func TestUnreadable(t *testing.T) {
	for name, sql := range map[string]string{
		"zero byte":     "SELECT 1\x00; SET a.b = 1",
		"latin":         "SELECT '\xfc'",
		"cut character": "SELECT '\xe2\x82",
		"open literal":  "SELECT 'a",
		"open comment":  "SELECT 1 /* /* */",
		"open dollar":   "SELECT $a$ $b$",
		"wrong":         "SELEKT 1",
		"second wrong":  "SELECT 1; SELEKT 2",
	} {
		if v := Analyze(sql); v.Parsed || v.Count != 0 || v.Parts != nil {
			t.Errorf("%s: %+v", name, v)
		}
	}
	for _, sql := range []string{"", " ", ";", "\n;;-- x\n/* */"} {
		if v := Analyze(sql); !v.Parsed || v.Count != 0 || v.Parts != nil {
			t.Errorf("%q: %+v", sql, v)
		}
	}
}

// TestBackslashes checks that a text which depends on standard_conforming_strings is not taken where that is off.
func TestBackslashes(t *testing.T) {
	for sql, want := range map[string]bool{
		`SELECT 1`:                       true,
		`SELECT 'a'`:                     true,
		`SELECT E'\''`:                   true,
		`SELECT e'a\\'`:                  true,
		`SELECT "a\b"`:                   true,
		`SELECT $$ \ $$`:                 true,
		`SELECT $a$ '\' $a$`:             true,
		`SELECT 1 -- \`:                  true,
		`SELECT 1 /* '\' */`:             true,
		`SELECT U&'\0061'`:               true, // an error on that server
		`SELECT '\'`:                     false,
		`SELECT 'a\b'`:                   false,
		`SELECT N'a\b'`:                  false,
		"SELECT 'a'\n'\\'":               false,
		"SELECT E'a'\n'\\''":             true,
		`SELECT E'\'', '\', ''`:          false,
		`SELECT '\'; SET a.b = 1; --'`:   false,
		`SELECT '\\', 'x''; SET a.b = 1`: false,
	} {
		if got := AnalyzeWith(sql, false).Parsed; got != want {
			t.Errorf("%s: parsed is %v", sql, got)
		}
	}
	if !AnalyzeWith(`SELECT '\'`, true).Parsed {
		t.Error("a backslash is a character like any other where strings conform")
	}
}

// TestAtOnce runs many at a time; the race detector looks on.
func TestAtOnce(t *testing.T) {
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				if v := Analyze("SELECT set_config('a.b', 'c', false)"); len(v.Parts) != 1 {
					t.Errorf("%+v", v)
				}
			}
		})
	}
	group.Wait()
}
