package simtest

import (
	"encoding/hex"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

func (b *Backend) setting(p *portal) (tag string, err *wire.Error) {
	st := p.st
	switch st.op {
	case opSet:
		b.vars = vars{st.text, st.text}
		return "SET", nil
	case opConfig:
		b.vars = vars{b.start, b.start}
		if st.text != "" {
			b.vars = vars{st.value, st.value}
		}
		b.say(dataRow(value{s: "f"}, st.cols[0], p.format))
		return "SELECT 1", nil
	case opSetLocal:
		if !b.tx.block && !b.implicitBlock() {
			b.notice("WARNING", wire.CodeNoActiveTransaction, "SET LOCAL can only be used in transaction blocks")
		}
		b.vars.now = st.text
		return "SET", nil
	case opReset:
		b.vars = vars{b.start, b.start}
		return "RESET", nil
	case opListen:
		b.tx.channels = append(b.tx.channels, func(s *session) {
			if !s.listening(st.text) {
				s.channels = append(s.channels, st.text)
			}
		})
		return "LISTEN", nil
	case opUnlisten:
		b.tx.channels = append(b.tx.channels, func(s *session) { s.channels = nil })
		return "UNLISTEN", nil
	case opNotify:
		n := note{b.pid, st.text, st.value}
		for _, other := range b.tx.notes {
			if other == n {
				return "NOTIFY", nil
			}
		}
		b.tx.notes = append(b.tx.notes, n)
		return "NOTIFY", nil
	}
	return b.discardAll(p)
}

func (b *Backend) discardAll(p *portal) (tag string, err *wire.Error) {
	if b.tx.block || b.implicitBlock() {
		return "", &wire.Error{Code: "25001", Message: "DISCARD ALL cannot run inside a transaction block"}
	}
	b.forgetPrepared()
	clear(b.portals)
	if b.extended {
		b.portals[p.name] = p
	}
	b.vars = vars{b.start, b.start}
	b.tx.before = b.vars
	b.tx.channels = append(b.tx.channels, func(s *session) { s.channels = nil })
	return "DISCARD ALL", nil
}

// forgetPrepared drops every named statement; the unnamed one is not among those DEALLOCATE knows.
func (b *Backend) forgetPrepared() {
	for name := range b.prepared {
		if name != "" {
			delete(b.prepared, name)
		}
	}
}

func (b *Backend) preparedCommand(st *statement) (tag string, err *wire.Error) {
	switch st.op {
	case opPrepare:
		if b.prepared[st.text] != nil {
			return "", alreadyPrepared(st.text)
		}
		inner := *st.inner
		inner.bySQL = true
		b.prepared[st.text] = &inner
		return "PREPARE", nil
	case opDeallocate:
		if b.prepared[st.text] == nil {
			return "", notPrepared(st.text)
		}
		delete(b.prepared, st.text)
		return "DEALLOCATE", nil
	}
	b.forgetPrepared()
	return "DEALLOCATE ALL", nil
}

// keeps reports whether the session holds what another client would notice, besides its setting: that it asks for.
func (b *Backend) keeps() bool { return len(b.channels) > 0 || b.preparedBySQL() }

func (b *Backend) preparedBySQL() bool {
	for _, st := range b.prepared {
		if st.bySQL {
			return true
		}
	}
	return false
}

// stock answers a pool's question for what is in the session: an item is one of the few there are.
func (b *Backend) stock(items string) value {
	truth := map[bool]string{true: "t", false: "f"}
	var out strings.Builder
	for item := range strings.SplitSeq(items, ", ',', ") {
		switch {
		case strings.Contains(item, "pg_listening_channels"):
			out.WriteString(truth[len(b.channels) > 0])
		case strings.Contains(item, "pg_prepared_statements"):
			out.WriteString(truth[b.preparedBySQL()])
		case strings.Contains(item, "pg_show_all_settings"):
			out.WriteString(truth[b.vars.session != b.start])
		default:
			out.WriteString(hex.EncodeToString([]byte(b.vars.now)))
		}
		out.WriteByte(',')
	}
	return value{s: out.String()}
}
