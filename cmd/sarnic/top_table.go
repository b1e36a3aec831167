package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"
)

// table is what one view shows.
type table struct {
	columns []column
	rows    []row
}

// column is one of a table.
type column struct {
	title string
	right bool // numbers and times
	cut   bool // it may be shortened where there is no room
}

// row is one of a table. Those who wait are to be seen.
type row struct {
	cells []string
	alert bool
}

// narrowest is how far a column is shortened before the last columns are left out.
const narrowest = 8

// gap is what stands between two columns.
const gap = "  "

// lines lays the table out: the titles, then at most so many rows. Without a limit (0) of columns or rows nothing is left out.
func (t table) lines(most, room int, p paint) []string {
	widths := t.widths(most)
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
	}
	all := []string{p.title(t.line(titles, widths))}
	rows := t.rows
	if room > 0 && len(rows) > room {
		rows = rows[:room-1]
	}
	for _, r := range rows {
		line := t.line(r.cells, widths)
		if r.alert {
			line = p.alert(line)
		}
		all = append(all, line)
	}
	if left := len(t.rows) - len(rows); left > 0 {
		more := fmt.Sprintf("… %d more", left)
		all = append(all, p.faint(shorten(more, max(most, 1))))
	}
	return all
}

// widths are those of the columns that fit.
func (t table) widths(most int) []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = cells(c.title)
		for _, r := range t.rows {
			widths[i] = max(widths[i], cells(r.cells[i]))
		}
	}
	for most > 0 && sum(widths)+len(gap)*(len(widths)-1) > most {
		widest := -1
		for i, c := range t.columns[:len(widths)] {
			if c.cut && widths[i] > narrowest && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		switch {
		case widest >= 0:
			widths[widest]--
		case len(widths) > 1:
			widths = widths[:len(widths)-1]
		default:
			return []int{most}
		}
	}
	return widths
}

func sum(all []int) int {
	n := 0
	for _, one := range all {
		n += one
	}
	return n
}

// line is one row in columns of these widths.
func (t table) line(values []string, widths []int) string {
	var b strings.Builder
	for i, w := range widths {
		if i > 0 {
			b.WriteString(gap)
		}
		value := shorten(values[i], w)
		space := strings.Repeat(" ", w-cells(value))
		if t.columns[i].right {
			value = space + value
		} else if i < len(widths)-1 {
			value += space
		}
		b.WriteString(value)
	}
	return b.String()
}

// shorten is text within so many cells of the terminal.
func shorten(text string, most int) string {
	if cells(text) <= most {
		return text
	}
	used := 0
	for i, r := range text {
		if used+wide(r) > most-1 {
			return text[:i] + "…"
		}
		used += wide(r)
	}
	return text
}

// cells is how many cells of a terminal text takes.
func cells(text string) int {
	n := 0
	for _, r := range text {
		n += wide(r)
	}
	return n
}

// wide is 2 for the letters of East Asia, 0 for marks over the letter before them.
func wide(r rune) int {
	if r < 0x300 {
		return 1
	}
	switch kind := width.LookupRune(r).Kind(); {
	case kind == width.EastAsianWide || kind == width.EastAsianFullwidth:
		return 2
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	return 1
}

// harmless is text without what a terminal takes for a command. Clients choose their names themselves.
func harmless(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// inColumns puts harmless values in a row.
func inColumns(alert bool, values ...string) row {
	return row{cells: slices.Collect(func(yield func(string) bool) {
		for _, v := range values {
			if !yield(harmless(v)) {
				return
			}
		}
	}), alert: alert}
}

// paint is how text stands out. The zero paint does not: of a file, or where NO_COLOR is set.
type paint struct{ on bool }

func (p paint) with(code, text string) string {
	if !p.on {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p paint) title(text string) string { return p.with("1", text) }
func (p paint) alert(text string) string { return p.with("33", text) }
func (p paint) fault(text string) string { return p.with("1;31", text) }
func (p paint) faint(text string) string { return p.with("2", text) }

// brief is a time in a few characters.
func brief(d time.Duration) string {
	switch {
	case d <= 0:
		return "0"
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// short is a number in at most five characters.
func short(n float64) string {
	for _, unit := range []string{"", "k", "M", "G"} {
		switch {
		case n < 9.95 && unit != "" || n < 9.95 && n > 0 && n != float64(int64(n)):
			return fmt.Sprintf("%.1f%s", n, unit)
		case n < 999.5:
			return fmt.Sprintf("%.0f%s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.0fT", n)
}
