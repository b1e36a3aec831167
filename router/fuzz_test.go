package router

import (
	"testing"
	"time"
)

// FuzzAnalyze checks what every verdict promises, whatever the text.
func FuzzAnalyze(f *testing.F) {
	Warm()
	for _, sql := range cases(f, "settings", "calls", "statements") {
		f.Add(sql, true)
		f.Add("SELECT 1; "+sql, false)
	}
	for _, sql := range towers(60) {
		f.Add(sql, true)
	}
	f.Fuzz(func(t *testing.T, sql string, conforming bool) {
		start := time.Now()
		v := AnalyzeWith(sql, conforming)
		if took := time.Since(start); took > 3*time.Second && len(sql) < 20_000 {
			t.Errorf("%d bytes took %v", len(sql), took)
		}
		if !Working() {
			t.Fatal("the grammar broke")
		}
		promised(t, sql, v)
		if v.Parsed && flat(sql) && measureOf(parser.tokens(sql)) > maxHeight {
			t.Errorf("called flat: %q", sql)
		}
		if after := rewritten(sql, v); v.Parsed && after != sql && !AnalyzeWith(after, conforming).Parsed {
			t.Errorf("%q with pg_backend_pid replaced is no SQL: %q", sql, after)
		}
		if again := AnalyzeWith(sql, conforming); render(sql, again) != render(sql, v) {
			t.Error("another verdict the second time")
		}
	})
}

// promised checks that positions lie in the text, one in the other and in order.
func promised(t *testing.T, sql string, v *Verdict) {
	if !v.Parsed && (v.Count != 0 || len(v.Parts) != 0) {
		t.Errorf("not understood, and yet %+v", v)
	}
	stmt, at := 0, 0
	for _, p := range v.Parts {
		if p.Stmt < stmt || p.Stmt >= v.Count || p.At >= p.End || p.At < 0 || p.End > len(sql) || p.At < at {
			t.Errorf("out of order or out of bounds: %+v", p)
		}
		stmt, at = p.Stmt, p.At
		for _, s := range []Span{p.Args, p.Body} {
			if s != (Span{}) && (s.At < p.At || s.End > p.End || s.At >= s.End) {
				t.Errorf("%+v is not inside %+v", s, p)
			}
		}
		if (p.Kind == Prepare) != (p.Inner != nil) {
			t.Errorf("PREPARE and its inner verdict: %+v", p)
		}
		if p.Inner != nil {
			promised(t, p.Body.In(sql), p.Inner)
			if p.Inner.Count != 1 {
				t.Errorf("%d statements prepared: %+v", p.Inner.Count, p)
			}
		}
	}
}

func BenchmarkAnalyze(b *testing.B) {
	for name, sql := range map[string]string{
		"select":     "SELECT id, name FROM users WHERE id = $1",
		"set":        "SET search_path = a, public",
		"set_config": "SELECT set_config('app.user', $1, false)",
		"join": "SELECT u.id, u.name, count(o.id) FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.state = $1 " +
			"WHERE u.created > now() - interval '1 day' GROUP BY 1, 2 HAVING count(o.id) > 3 ORDER BY 3 DESC LIMIT 10",
		"wrong": "SELEKT 1",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Analyze(sql)
			}
		})
	}
}
