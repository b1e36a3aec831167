package difftest

import (
	"fmt"
	"slices"
	"strings"
)

const (
	longestPeriod = 6 // frames of a group that is folded
	fewestRepeats = 4 // shorter runs are written out
)

// foldFrames writes frames as a transcript does, runs of equal groups as 100x(DataRow | CommandComplete).
func foldFrames(frames []frame) string {
	texts, kinds := make([]string, len(frames)), make([]string, len(frames))
	for i, f := range frames {
		texts[i] = describe(f)
		kinds[i], _, _ = strings.Cut(texts[i], " ")
	}
	var out []string
	for i := 0; i < len(frames); {
		if i > 0 && frames[i-1].typ == 'R' && frames[i].typ == 'S' {
			out = append(out, "ParameterStatus of the login")
			for i < len(frames) && frames[i].typ == 'S' {
				i++
			}
			continue
		}
		period, repeats := longestRun(kinds[i:])
		if repeats < fewestRepeats {
			out = append(out, texts[i])
			i++
			continue
		}
		out = append(out, fmt.Sprintf("%dx(%s)", repeats, strings.Join(groupTexts(texts[i:], kinds[i:], period, repeats), " | ")))
		i += period * repeats
	}
	return strings.Join(out, " | ")
}

// longestRun finds the group at the start of kinds whose repetition covers most.
func longestRun(kinds []string) (period, repeats int) {
	covered := 0
	for p := 1; p <= min(longestPeriod, len(kinds)/fewestRepeats); p++ {
		n := 1
		for (n+1)*p <= len(kinds) && slices.Equal(kinds[:p], kinds[n*p:(n+1)*p]) {
			n++
		}
		if n >= fewestRepeats && n*p > covered {
			period, repeats, covered = p, n, n*p
		}
	}
	return period, repeats
}

// groupTexts keeps the details of the frames that are the same in every repetition.
func groupTexts(texts, kinds []string, period, repeats int) []string {
	out := slices.Clone(kinds[:period])
	for i := range out {
		same := true
		for n := range repeats {
			same = same && texts[n*period+i] == texts[i]
		}
		if same {
			out[i] = texts[i]
		}
	}
	return out
}

// wrap breaks a list at its bars so that a transcript stays readable.
func wrap(line string) []string {
	const width = 130
	var out []string
	for part := range strings.SplitSeq(line, " | ") {
		last := len(out) - 1
		if last >= 0 && len(out[last])+len(part)+3 <= width {
			out[last] += " | " + part
			continue
		}
		if last >= 0 {
			out[last] += " |"
			part = "   " + part
		}
		out = append(out, part)
	}
	return out
}
