package scram

import "testing"

func TestCarried(t *testing.T) {
	k, err := Derive("secret", []byte("salt of sixteen."), 4096)
	if err != nil {
		t.Fatal(err)
	}
	again := k.Carry().Key()
	if again == nil || again.client != k.client || !again.Verifier().Equal(k.Verifier()) {
		t.Error("another key")
	}
	for name, spoil := range map[string]func(*Carried){
		"client":     func(c *Carried) { c.Client[3] ^= 1 },
		"stored":     func(c *Carried) { c.Stored[0] ^= 1 },
		"iterations": func(c *Carried) { c.Iterations = 0 },
		"salt":       func(c *Carried) { c.Salt = nil },
		"everything": func(c *Carried) { *c = Carried{} },
	} {
		c := k.Carry()
		if spoil(&c); c.Key() != nil {
			t.Errorf("a key with a wrong %s", name)
		}
	}
}
