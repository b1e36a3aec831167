package dial

import (
	"testing"

	"github.com/sarnicdb/sarnic/proxy/scram"
)

func TestCarried(t *testing.T) {
	key, err := scram.Derive("secret", []byte("salt of sixteen."), 4096)
	if err != nil {
		t.Fatal(err)
	}
	for name, learn := range map[string]func(*Proof){
		"key":      func(p *Proof) { p.LearnKey(key) },
		"md5":      func(p *Proof) { p.LearnMD5("0123456789abcdef0123456789abcdef") },
		"password": func(p *Proof) { p.LearnPassword("secret") },
	} {
		var from, to Proof
		if from.Carry() != nil || to.Receive(nil) || to.Receive(&Carried{}) {
			t.Errorf("%s: nothing is something", name)
		}
		learn(&from)
		if !to.Receive(from.Carry()) {
			t.Fatalf("%s: it is lost", name)
		}
		a, b := from.now(), to.now()
		if a.md5 != b.md5 || a.password != b.password || (a.key == nil) != (b.key == nil) {
			t.Errorf("%s: another one", name)
		}
		if a.key != nil && !a.key.Verifier().Equal(b.key.Verifier()) {
			t.Errorf("%s: another key", name)
		}
	}
	var known Proof
	known.LearnPassword("newer")
	if !known.Receive(&Carried{Password: "older"}) || known.now().password != "newer" {
		t.Error("what was learnt here is replaced")
	}
}
