package main

import (
	"fmt"
	"strings"
	"time"
)

// topScreen is what sarnic top shows. It has no terminal and no console of its own.
type topScreen struct {
	period
	address string
	view    view
	order   order
	fault   string // why there is no newer sample
	paint   paint
}

// take shows a newer sample.
func (s *topScreen) take(now sample) {
	s.before, s.now, s.fault = s.now, now, ""
}

// press acts on a key. It reports whether the screen is done with, and whether it needs another sample at once.
func (s *topScreen) press(key byte) (done, look bool) {
	const interrupt, endOfFile, tab = 3, 4, 9
	switch key {
	case 'q', 'Q', interrupt, endOfFile:
		return true, false
	case 's', 'S':
		s.order = after(orders(), s.order)
	case 'v', 'V', tab:
		s.view = after(lowerViews(), s.view)
		return false, true
	case ' ':
		return false, true
	}
	return false, false
}

// typed are the keys in what a terminal sends. Those that it sends as several bytes (arrows) are none.
func typed(b []byte) []byte {
	for i, key := range b {
		if key == 0x1b {
			return b[:i]
		}
	}
	return b
}

// lines is the screen in so many columns and lines.
func (s *topScreen) lines(width, height int) []string {
	databases, pools, lower := s.databases(s.order), s.pools(s.order), s.table(s.view, s.order)
	tables := []table{databases, pools, lower}
	fixed := 2 + 2*len(tables) + 1 // the two lines above, an empty line and titles for each table, and the line below
	rooms := share(height-fixed, len(databases.rows), len(pools.rows), len(lower.rows))
	all := []string{s.headline(width), s.totals(width)}
	for i, t := range tables {
		all = append(all, "")
		all = append(all, t.lines(width, max(rooms[i], 1), s.paint)...)
		if i == 2 {
			all = append(all, s.nothing(len(t.rows), width)...)
		}
	}
	if len(all) > height-1 {
		all = all[:max(height-1, 0)]
	}
	for len(all) < height-1 {
		all = append(all, "")
	}
	return append(all, s.paint.faint(shorten(fmt.Sprintf("q quit   s sort: %s   v view: %s   space now", s.order, s.view), width)))
}

// nothing says why the lower table is empty.
func (s *topScreen) nothing(rows, width int) []string {
	if rows > 0 || s.now.at.IsZero() {
		return nil
	}
	text := "no " + string(s.view)
	for v, l := range map[view]listing{clientsView: s.now.clients, pinsView: s.now.pins, statementsView: s.now.statements} {
		if v == s.view && l.refused != "" {
			text = l.refused
		}
	}
	return []string{s.paint.faint(shorten(harmless(text), width))}
}

// headline says what is looked at, when.
func (s *topScreen) headline(width int) string {
	left := harmless(s.now.version + "  " + s.address)
	right := s.now.at.Format(time.TimeOnly)
	space := width - cells(left) - cells(right)
	if space < 1 {
		return s.paint.title(shorten(left, width))
	}
	return s.paint.title(left + strings.Repeat(" ", space) + right)
}

// totals is the line over all pools, or what is wrong.
func (s *topScreen) totals(width int) string {
	if s.fault != "" {
		return s.paint.fault(shorten(harmless("no answer: "+s.fault), width))
	}
	l := s.now.pools
	var clients, waiting, busy, idle float64
	var longest time.Duration
	for _, r := range l.rows {
		waiting += float64(l.number(r, "cl_waiting"))
		clients += float64(l.number(r, "cl_active", "cl_waiting"))
		busy += float64(l.number(r, "sv_active"))
		idle += float64(l.number(r, "sv_idle", "sv_used"))
		longest = max(longest, l.time(r, "maxwait", "maxwait_us"))
	}
	var queries float64
	for _, r := range s.now.stats.rows {
		queries += s.flow(r).queries
	}
	text := fmt.Sprintf("%s clients  %s wait", short(clients), short(waiting))
	if waiting > 0 {
		text += " (" + brief(longest) + ")"
	}
	if n := len(s.now.pins.rows); n > 0 {
		text += "  " + short(float64(n)) + " pins"
	}
	text += fmt.Sprintf("  %s busy  %s idle  %s query/s", short(busy), short(idle), short(queries))
	switch {
	case s.now.paused:
		return s.paint.fault(shorten("PAUSED  "+text, width))
	case waiting > 0:
		return s.paint.alert(shorten(text, width))
	}
	return shorten(text, width)
}

// share divides the lines of a screen: each table gets as many as it has rows, as long as there are any left, by turns.
func share(room int, wants ...int) []int {
	given := make([]int, len(wants))
	for moved := true; moved && room > 0; {
		moved = false
		for i := range wants {
			if given[i] < wants[i] && room > 0 {
				given[i]++
				room--
				moved = true
			}
		}
	}
	return given
}
