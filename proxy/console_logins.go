package proxy

import (
	"slices"
	"time"
)

// loginTimes says when a session logged in without a byte in the session: they are numbered in order, so a mark for each
// second in which somebody logged in is enough. The server's mu guards it.
type loginTimes struct {
	recent []loginMark // to the second
	old    []loginMark // at least step seconds apart
	step   int64
}

// loginMark is a second, and the number of the first session that logged in then.
type loginMark struct {
	owned uint64
	at    int64 // in Unix time
}

// maxLoginMarks bounds either list: 64 kB.
const maxLoginMarks = 4096

// note is called at each login.
func (t *loginTimes) note(owned uint64, now time.Time) {
	at := now.Unix()
	if n := len(t.recent); n > 0 && t.recent[n-1].at >= at {
		return
	}
	if len(t.recent) >= maxLoginMarks {
		t.age()
	}
	t.recent = append(t.recent, loginMark{owned, at})
}

// age moves the older half of the recent marks to the old ones. Where those are too many, they are spaced twice as far.
func (t *loginTimes) age() {
	half := len(t.recent) / 2
	t.old = append(t.old, t.recent[:half]...)
	t.recent = t.recent[:copy(t.recent, t.recent[half:])]
	for t.space(); len(t.old) > maxLoginMarks; t.space() {
		t.step = max(2*t.step, 2)
	}
}

// space drops the old marks that are nearer than step to the one before.
func (t *loginTimes) space() {
	kept := t.old[:0]
	for _, m := range t.old {
		if n := len(kept); n == 0 || m.at-kept[n-1].at >= t.step {
			kept = append(kept, m)
		}
	}
	t.old = kept
}

// of is when the session with that number logged in, to the second where that was not long ago; the zero time where nobody
// knows.
func (t *loginTimes) of(owned uint64) time.Time {
	marks := t.recent
	if len(marks) == 0 || owned < marks[0].owned {
		marks = t.old
	}
	i, exact := slices.BinarySearchFunc(marks, owned, func(m loginMark, owned uint64) int {
		switch {
		case m.owned < owned:
			return -1
		case m.owned > owned:
			return 1
		}
		return 0
	})
	if !exact {
		i--
	}
	if i < 0 {
		return time.Time{}
	}
	return time.Unix(marks[i].at, 0)
}

// copied is t for a reader without the lock.
func (t *loginTimes) copied() loginTimes {
	return loginTimes{recent: slices.Clone(t.recent), old: slices.Clone(t.old)}
}
