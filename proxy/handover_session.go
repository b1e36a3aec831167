package proxy

import (
	"encoding/hex"
	"hash/maphash"
	"strings"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// parcelForm names the form of a parcel and what a session is made of. A process hands clients only to one that says the
// same; it changes whenever parcel or the meaning of one of its fields does.
const parcelForm = "1"

// parcel is an idle client on its way to another process: everything there is of it but its socket.
type parcel struct {
	Database, User    string
	PID               uint32
	NewKeys           bool
	Startup, Settings []wire.Param
	Conforming        bool // standard_conforming_strings, for reading the texts below
	Statements        []parcelStatement
	Unnamed           *parcelStatement
	Proof             *dial.Carried // what logs in to the server, where the user's own logins have shown it
	Shapes            string        // what shapes are worth; see shapeProof
}

// parcelStatement is a prepared statement.
type parcelStatement struct {
	Name, Text string
	Types      string // of the Parse, as its tail
	Resolved   string // as the server found them
	Frame      []byte // of the unnamed one: its Parse
	Shape      uint64
}

// movable reports whether the session is nothing but what a parcel holds, and its socket. On its loop.
func (s *session) movable() bool {
	if !s.conn.Handled() { // the greeting is still to come
		return false
	}
	if s.x != nil || s.ended || s.killed || s.leaving || s.skipping || s.tls != nil || len(s.in) > 0 ||
		s.conn.Closed() || s.conn.Err() != nil || s.conn.Pending() > 0 || s.conn.Ready(loop.Gone) {
		return false
	}
	for _, cs := range s.stmts {
		if cs.segment != 0 || cs.closing {
			return false
		}
	}
	return s.unnamed == nil || s.unnamed.segment == 0
}

// pack makes a parcel of a movable session. On its loop. Nothing in it is shared with the session but what never changes.
func (s *session) pack() *parcel {
	p := &parcel{
		Database: s.pool.Database(), User: s.pool.User(), PID: s.pid, NewKeys: s.newKeys,
		Startup: s.startup.list(), Settings: s.settings.list(), Conforming: s.readsConforming(), Shapes: s.srv.shapeProof(),
	}
	for name, cs := range s.stmts {
		p.Statements = append(p.Statements, parcelStatement{
			Name: name, Text: cs.stmt.Text, Types: cs.stmt.Types, Resolved: cs.types, Shape: cs.shape,
		})
	}
	if s.srv.snapshot().dialsItself(p.User) {
		p.Proof = s.srv.proofs.of(poolKey{p.Database, p.User}).Carry()
	}
	if u := s.unnamed; u != nil {
		p.Unnamed = &parcelStatement{Frame: append([]byte(nil), u.frame...), Shape: u.shape}
	}
	return p
}

// readsConforming is what standard_conforming_strings is for the session, as far as that is known.
func (s *session) readsConforming() bool {
	const name = "standard_conforming_strings"
	value, ok := valueOf(s.settings.list(), name)
	if !ok {
		value, _ = valueOf(s.pool.Params(), name)
	}
	return strings.EqualFold(value, "on")
}

// unpack makes a session of a parcel. It is in no books yet.
func (srv *Server) unpack(p *parcel, conn *loop.Conn, w *worker) *session {
	s := &session{srv: srv, w: w, conn: conn, pid: p.PID, newKeys: p.NewKeys}
	worth := func(shape uint64) uint64 {
		if p.Shapes != srv.shapeProof() {
			return 0
		}
		return shape
	}
	effect := func(sql string) *impact {
		if !suspicious([]byte(sql)) {
			return nil
		}
		return srv.impacts.of([]byte(sql), p.Conforming)
	}
	for _, st := range p.Statements {
		if s.stmts == nil {
			s.stmts = make(map[string]*clientStatement, len(p.Statements))
		}
		s.stmts[st.Name] = &clientStatement{
			stmt: srv.texts.Intern([]byte(st.Text), []byte(st.Types)), types: st.Resolved, shape: worth(st.Shape),
			impact: effect(st.Text),
		}
	}
	if u := p.Unnamed; u != nil && len(u.Frame) >= wire.HeaderLen {
		if _, sql, _, ok := wire.ParseMessage(u.Frame[wire.HeaderLen:]); ok {
			s.unnamed = &unnamedStatement{frame: u.Frame, shape: worth(u.Shape), impact: effect(string(sql))}
		}
	}
	return s
}

// shapeProof is equal in two processes whose shapes of statements are.
func (srv *Server) shapeProof() string {
	var h maphash.Hash
	h.SetSeed(srv.seed)
	_, _ = h.WriteString("shape")
	return hex.EncodeToString(h.Sum(nil))
}
