package dial

import "github.com/sarnicdb/sarnic/proxy/scram"

// Carried is what a Proof knows, on its way to another process. Everything in it is secret.
type Carried struct {
	Key           *scram.Carried
	MD5, Password string
}

// Carry returns what p knows; nil for nothing.
func (p *Proof) Carry() *Carried {
	c := p.last.Load()
	if c == nil {
		return nil
	}
	carried := &Carried{MD5: c.md5, Password: c.password}
	if c.key != nil {
		k := c.key.Carry()
		carried.Key = &k
	}
	return carried
}

// Receive keeps what another process knew, unless something was learnt here. It reports whether p knows something then.
func (p *Proof) Receive(c *Carried) bool {
	if c != nil {
		known := &credential{md5: c.MD5, password: c.Password}
		if c.Key != nil {
			known.key = c.Key.Key()
		}
		if known.key != nil || known.md5 != "" || known.password != "" {
			p.last.CompareAndSwap(nil, known)
		}
	}
	return p.last.Load() != nil
}
