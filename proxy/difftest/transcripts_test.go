package difftest

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestTranscripts plays every transcript directly, through the proxy, and through the proxy again with all
// writes cut into small pieces and client A behind TLS.
func TestTranscripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, s := range servers {
		for _, path := range paths {
			script, err := readTranscript(path)
			if err != nil {
				t.Fatal(err)
			}
			if s.version < script.since || s.version > script.upTo {
				continue
			}
			t.Run(strconv.Itoa(s.version)+"/"+strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
				if !*rewrite {
					t.Parallel()
				}
				playThrice(t, s, script)
			})
		}
	}
}

func playThrice(t *testing.T, s *server, script *transcript) {
	room := s.enter(t)
	direct := &run{script: script, addr: s.Addr(), who: room.account(), super: room.super}
	oracle, err := direct.play(t.Context())
	if err != nil {
		t.Fatalf("direct: %v", err)
	}
	if *rewrite {
		script.rewrite(t, oracle)
		return
	}
	oracleMustMatch(t, script, oracle)
	playProxied(t, room, script, oracle, nil)
	if !t.Failed() {
		seed := fnv.New64()
		_, _ = seed.Write([]byte(script.path))
		playProxied(t, room, script, oracle, rand.New(rand.NewPCG(seed.Sum64(), 1)))
	}
}

// oracleMustMatch fails where the steps that are not written read more than the end.
func oracleMustMatch(t *testing.T, script *transcript, oracle answers) {
	for i, st := range script.steps {
		if got := foldFrames(oracle[i]); st.verb == verbLeave && got != "End" {
			t.Fatalf("%s: the transcript leaves answers unread: %s", script.place(st), got)
		}
	}
}

// playProxied plays the transcript through a proxy of its own, in an emptied database.
func playProxied(t *testing.T, room *room, script *transcript, oracle answers, pieces *rand.Rand) {
	if err := room.empty(t.Context()); err != nil {
		t.Fatalf("emptying %s: %v", room.database, err)
	}
	p := startProxy(t, room.appDSN(), script.poolSize, tlsArgs()...)
	proxied := &run{
		script: script, addr: p.addr, who: room.account(), super: room.super, oracle: oracle, pieces: pieces,
	}
	how := "through the proxy"
	if pieces != nil {
		how += ", in pieces, A over TLS"
		proxied.secure = map[string]bool{"A": true}
	}
	if _, err := proxied.play(t.Context()); err != nil {
		t.Errorf("%s: %v", how, err)
	}
}

// rewrite puts what was read in place of what the transcript expected.
func (t *transcript) rewrite(tb testing.TB, got answers) {
	var out []string
	at := 0
	for i, st := range t.steps {
		if st.verb != verbRead {
			continue
		}
		out = append(out, t.lines[at:st.from]...)
		out = append(out, wrap(st.who+"< "+foldFrames(got[i]))...)
		at = st.to
	}
	out = append(out, t.lines[at:]...)
	if err := os.WriteFile(t.path, []byte(strings.Join(out, "\n")+"\n"), 0o644); err != nil {
		tb.Fatal(err)
	}
}
