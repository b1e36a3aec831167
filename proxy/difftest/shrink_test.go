package difftest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// shrink leaves out of a failing random transcript what it can and still fails: whole requests, then single messages.
func shrink(t *testing.T, r *room, failing *transcript, failure error) (*transcript, error) {
	t.Helper()
	try := func(steps []step) bool {
		candidate := *failing
		candidate.steps = steps
		err := playBoth(t, r, &candidate)
		if err == nil {
			return false
		}
		failing, failure = &candidate, err
		return true
	}
	for size := 16; size >= 1; size /= 2 {
		for i := 0; i+2*size <= len(failing.steps); {
			if failing.steps[i].verb != verbSend || !try(slices.Delete(slices.Clone(failing.steps), i, i+2*size)) {
				i++
			}
		}
	}
	for i := 0; i < len(failing.steps); i++ {
		for m := 0; failing.steps[i].verb == verbSend && m < len(messagesOf(failing.steps[i].text)); {
			steps := slices.Clone(failing.steps)
			messages := messagesOf(steps[i].text)
			if !removable(messages[m]) || len(messages) == 1 {
				m++
				continue
			}
			steps[i].text = strings.Join(slices.Delete(messages, m, m+1), " | ")
			if !try(steps) {
				m++
			}
		}
	}
	return failing, failure
}

// messagesOf cuts a line at its bars; random texts have none of their own.
func messagesOf(line string) []string { return strings.Split(line, " | ") }

// removable says that leaving a message out does not change how many ReadyForQuery there are.
func removable(message string) bool {
	kind, _, _ := strings.Cut(message, " ")
	return slices.Contains([]string{"Parse", "Bind", "Describe", "Execute", "Close", "Flush"}, kind)
}

// errImpossible is the failure of a candidate that waits for one client while the other holds a transaction.
var errImpossible = errors.New("a client would wait for ever")

// playBoth plays a candidate directly and through a new proxy. It fails only if the answers differ.
func playBoth(t *testing.T, r *room, script *transcript) error {
	t.Helper()
	ctx := t.Context()
	oracle, err := playDirect(ctx, r, script)
	if err != nil {
		return nil //nolint:nilerr // no candidate: this transcript says nothing about the proxy
	}
	if err := r.empty(ctx); err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, r.appDSN(), 1)
	_, err = (&run{script: script, addr: p.addr, who: r.account(), super: r.super, oracle: oracle}).play(ctx)
	return err
}

func playDirect(ctx context.Context, r *room, script *transcript) (answers, error) {
	if err := r.empty(ctx); err != nil {
		return nil, err
	}
	oracle, err := (&run{script: script, addr: r.Addr(), who: r.account(), super: r.super}).play(ctx)
	if err != nil {
		return nil, err
	}
	holder := ""
	for i, st := range script.steps {
		if st.verb != verbRead {
			continue
		}
		if holder != "" && holder != st.who {
			return nil, errImpossible
		}
		if holder = ""; statusOf(oracle[i]) != 'I' {
			holder = st.who
		}
	}
	return oracle, nil
}
