package simtest

import (
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/loop/sim"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Dial makes a connection to a new server process whose login is over, and returns the caller's end.
func Dial(w *sim.World, db *Database, name string) (ours *sim.End, b *Backend) {
	ours, theirs := w.Pair(name, name+" server")
	b = db.Start("")
	serve(theirs, b)
	return ours, b
}

// Listen puts a server process behind an end whose other side is a client's, greeting included: a direct connection.
func Listen(end *sim.End, b *Backend) {
	var g []byte
	g = wire.AppendAuthOK(g)
	g = wire.AppendParameterStatus(g, "application_name", b.start)
	g = wire.AppendBackendKeyData(g, b.pid, b.Secret())
	b.out = wire.AppendReadyForQuery(g, 'I')
	serve(end, b)
}

// serve carries bytes between an end and its process.
func serve(end *sim.End, b *Backend) {
	p := &peer{end: end, b: b}
	b.Spoken = p.write
	end.OnEvent(p.step)
}

// peer is the server's side of a connection.
type peer struct {
	end  *sim.End
	b    *Backend
	out  []byte
	gone bool
}

func (p *peer) step() {
	if p.write(); len(p.out) > 0 && !p.gone {
		return // whose client does not read does not read either
	}
	var buf [2048]byte
	for !p.gone {
		n, err := p.end.TryRead(buf[:])
		p.b.Feed(buf[:n])
		if err == loop.ErrWouldBlock { //nolint:errorlint // the loop's own sentinel
			break
		}
		if err != nil {
			p.gone = true
			p.b.HangUp()
		}
	}
	p.write()
}

func (p *peer) write() {
	p.out = append(p.out, p.b.Take()...)
	n, err := p.end.TryWrite(p.out)
	p.out = p.out[n:]
	if err != nil && !p.gone {
		p.gone = true
		p.b.HangUp()
	}
	if p.b.Ended() && (len(p.out) == 0 || err != nil) {
		_ = p.end.Close()
	}
}
