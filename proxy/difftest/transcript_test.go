package difftest

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// transcript is one file of testdata, read.
type transcript struct {
	path     string
	lines    []string // the file as it is, for -rewrite
	poolSize int      // server connections of the proxy
	since    int      // oldest major version it is true for
	upTo     int      // newest major version it is true for
	steps    []step
}

// step is one thing done, in the order of the file.
type step struct {
	verb verb
	who  string // the client, "" for super
	text string // what the verb needs: frames, settings, SQL, expected frames
	size int    // of cut: how many bytes go out now
	from int    // index of its first line in the file, -1 if the file does not have it
	to   int    // index behind its last line
}

type verb string

const (
	verbSetup    verb = "setup"       // SQL run before the first client comes
	verbConnect  verb = "connect"     // log in; the answer is left to a read
	verbJoin     verb = "join"        // log in and read the answer; not written, comes before a client's first step
	verbSend     verb = ">"           // write frames
	verbCut      verb = "cut"         // write the first bytes of frames and hold the others back
	verbRest     verb = "rest"        // write what was held back
	verbRead     verb = "<"           // read as many frames as are listed
	verbNothing  verb = "nothing"     // nothing has come
	verbLeave    verb = "leaves"      // Terminate, then only the end may come
	verbVanish   verb = "vanishes"    // FIN without Terminate
	verbReset    verb = "resets"      // RST
	verbCancel   verb = "cancels"     // CancelRequest with the client's key
	verbMiscall  verb = "miscancels"  // CancelRequest with a wrong secret
	verbSuper    verb = "super"       // SQL by the superuser
	verbSuperTil verb = "super until" // SQL repeated until it says true
)

var (
	sendPattern   = regexp.MustCompile(`^([A-Z])> (.*)$`)
	cutPattern    = regexp.MustCompile(`^([A-Z]) cut (\d+)> (.*)$`)
	readPattern   = regexp.MustCompile(`^([A-Z])< (.*)$`)
	actionPattern = regexp.MustCompile(`^([A-Z]) (connect|rest|nothing|leaves|vanishes|resets|cancels|miscancels)( .*)?$`)
	plainPattern  = regexp.MustCompile(`^(setup|super until|super|pool-size|since|up-to) (.*)$`)
)

// readTranscript reads a file; an indented line continues the line before it.
func readTranscript(path string) (*transcript, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t := &transcript{path: path, poolSize: 1, upTo: 1 << 30, lines: strings.Split(strings.TrimRight(string(text), "\n"), "\n")}
	for i := 0; i < len(t.lines); {
		from, line := i, t.lines[i]
		for i++; i < len(t.lines) && strings.HasPrefix(t.lines[i], " "); i++ {
			line += " " + strings.TrimSpace(t.lines[i])
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if err := t.add(line, from, i); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, from+1, err)
		}
	}
	t.complete()
	return t, nil
}

func (t *transcript) add(line string, from, to int) error {
	st := step{from: from, to: to}
	switch {
	case sendPattern.MatchString(line):
		m := sendPattern.FindStringSubmatch(line)
		st.verb, st.who, st.text = verbSend, m[1], m[2]
	case cutPattern.MatchString(line):
		m := cutPattern.FindStringSubmatch(line)
		st.verb, st.who, st.text = verbCut, m[1], m[3]
		st.size, _ = strconv.Atoi(m[2])
	case readPattern.MatchString(line):
		m := readPattern.FindStringSubmatch(line)
		st.verb, st.who, st.text = verbRead, m[1], m[2]
	case actionPattern.MatchString(line):
		m := actionPattern.FindStringSubmatch(line)
		st.verb, st.who, st.text = verb(m[2]), m[1], strings.TrimSpace(m[3])
	case plainPattern.MatchString(line):
		m := plainPattern.FindStringSubmatch(line)
		if t.option(m[1], m[2]) {
			return nil
		}
		st.verb, st.text = verb(m[1]), m[2]
	default:
		return fmt.Errorf("not a step: %s", line)
	}
	t.steps = append(t.steps, st)
	return nil
}

// option takes the lines that are no steps.
func (t *transcript) option(name, value string) bool {
	n, _ := strconv.Atoi(value)
	switch name {
	case "pool-size":
		t.poolSize = n
	case "since":
		t.since = n
	case "up-to":
		t.upTo = n
	default:
		return false
	}
	return true
}

// complete lets every client join before its first step and leave after its last one.
func (t *transcript) complete() {
	present := map[string]bool{}
	var order []string
	var out []step
	for _, st := range t.steps {
		if st.who != "" && !present[st.who] {
			present[st.who] = true
			order = append(order, st.who)
			if st.verb != verbConnect {
				out = append(out, step{verb: verbJoin, who: st.who, from: -1})
			}
		}
		out = append(out, st)
		if ended := st.verb == verbLeave || st.verb == verbVanish || st.verb == verbReset; ended ||
			st.verb == verbRead && strings.HasSuffix(st.text, "| End") || st.text == "End" {
			present[st.who] = false
		}
	}
	seen := map[string]bool{}
	for _, who := range order {
		if present[who] && !seen[who] {
			out = append(out, step{verb: verbLeave, who: who, from: -1})
		}
		seen[who] = true
	}
	t.steps = out
}

// place names a step for a message to the reader.
func (t *transcript) place(st step) string {
	if st.from < 0 {
		return fmt.Sprintf("%s: %s %s %s", t.path, st.who, st.verb, clip([]byte(st.text)))
	}
	return fmt.Sprintf("%s:%d: %s", t.path, st.from+1, strings.TrimSpace(t.lines[st.from]))
}

// expectation says which type the last of the listed frames has, and how many frames of this type are listed.
func expectation(text string) (last string, count int, err error) {
	items, err := parseList(text)
	if err != nil {
		return "", 0, err
	}
	counts := map[string]int{}
	err = each(items, 0, func(words []token, _ int) error {
		last = words[0].text
		counts[last]++
		return nil
	})
	return last, counts[last], err
}
