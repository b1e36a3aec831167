package admin

import (
	"math"
	"strings"
	"time"
)

// view is one SHOW: its columns and how they are filled.
type view struct {
	name     string
	columns  []column
	needs    Part
	rows     func(*State) [][]any
	operator bool // only for those who may everything
}

// column is one of a result. Its type is the letter that PgBouncer gives it.
type column struct {
	name string
	typ  byte
}

// columns reads "name s, port i".
func columns(spec string) []column {
	var all []column
	for one := range strings.SplitSeq(spec, ", ") {
		name, typ, _ := strings.Cut(one, " ")
		all = append(all, column{name, typ[0]})
	}
	return all
}

// What a row may hold: string, int64, bool, or nil for NULL. The helpers below make these of what a State has.

func number[T ~int | ~int64 | ~uint32 | ~uint64](n T) any { return int64(n) }

// small is a number for an int4 column: what is larger is cut.
func small[T ~int | ~int64 | ~uint32 | ~uint64](n T) any {
	if n > math.MaxInt32 {
		return int64(math.MaxInt32)
	}
	return int64(n)
}

func flag(b bool) any {
	if b {
		return int64(1)
	}
	return int64(0)
}

// orNull is s, or NULL where there is none.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func yesNo(b bool) any {
	if b {
		return "yes"
	}
	return "no"
}

// seconds and micros are the two columns of a wait.
func seconds(d time.Duration) any { return small(d / time.Second) }
func micros(d time.Duration) any  { return small(d % time.Second / time.Microsecond) }

// moment is a time as PgBouncer writes it; NULL where it is not known.
func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Format("2006-01-02 15:04:05 MST")
}
