package simtest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// copyIn is a COPY FROM STDIN under way.
type copyIn struct {
	buf  []byte
	rows []copyRow
	eof  bool // the line that ends the data has come
	then func(err *wire.Error, tag string)
}

type copyRow struct {
	k string
	v int32
}

func (b *Backend) copyFrom(then func(err *wire.Error, tag string)) {
	b.copying = &copyIn{then: then}
	b.say(copyResponse('G', 2))
	b.flush()
}

// copyResponse announces columns of text.
func copyResponse(typ byte, columns int) []byte {
	return wire.AppendFrame(nil, typ, append([]byte{0, 0, byte(columns)}, make([]byte, 2*columns)...))
}

// copyMessage is a message while the server reads COPY data. Sync and Flush are nothing to it.
func (b *Backend) copyMessage(typ byte, body []byte) {
	c := b.copying
	switch typ {
	case 'd', 'c', 'f':
		if err := b.at(Cancelable); err != nil {
			b.endCopy(err, "")
			return
		}
	}
	switch typ {
	case 'd':
		if err := c.data(body, &b.audit); err != nil {
			b.endCopy(err, "")
		}
	case 'c':
		n, err := c.insert(b)
		b.endCopy(err, "COPY "+strconv.Itoa(n))
	case 'f':
		reason, _, _ := bytes.Cut(body, []byte{0})
		b.endCopy(&wire.Error{Code: wire.CodeQueryCanceled, Message: "COPY from stdin failed: " + string(reason)}, "")
	case 'H', 'S':
	default:
		b.disrupt(typ, body)
	}
}

// disrupt deals with a message that has no place in a COPY. The server does not even read it to its end.
func (b *Backend) disrupt(typ byte, body []byte) {
	err := b.at(Disrupted)
	switch {
	case err == nil:
		err = &wire.Error{
			Code: wire.CodeProtocolViolation, Message: fmt.Sprintf("unexpected message type 0x%02X during COPY from stdin", typ),
		}
	case err.Code != wire.CodeProtocolViolation: // who stands between has ended the COPY first
		b.endCopy(err, "")
		b.message(typ, body)
		return
	}
	b.say(wire.AppendError(nil, err))
	b.fatal(&wire.Error{
		Code: wire.CodeProtocolViolation, Message: "terminating connection because protocol synchronization was lost",
	})
}

func (b *Backend) endCopy(err *wire.Error, tag string) {
	c := b.copying
	b.copying = nil
	c.then(err, tag)
}

// data takes what a CopyData brings. A line that cannot be read is an error at once.
func (c *copyIn) data(p []byte, a *audit) *wire.Error {
	c.buf = append(c.buf, p...)
	for !c.eof {
		line, rest, whole := bytes.Cut(c.buf, []byte("\n"))
		if !whole {
			return nil
		}
		c.buf = rest
		a.marked(string(line))
		if err := c.line(string(line)); err != nil {
			return err
		}
	}
	return nil
}

func (c *copyIn) line(s string) *wire.Error {
	if s == `\.` {
		c.eof = true
		return nil
	}
	k, v, found := strings.Cut(s, "\t")
	if !found {
		return &wire.Error{Code: "22P04", Message: `missing data for column "v"`}
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil {
		return &wire.Error{Code: "22P02", Message: "invalid input syntax for type integer"}
	}
	c.rows = append(c.rows, copyRow{k, int32(n)})
	return nil
}

// insert stores the rows. Duplicates are found only now.
func (c *copyIn) insert(b *Backend) (n int, err *wire.Error) {
	if len(c.buf) > 0 && !c.eof {
		if err := c.line(string(c.buf)); err != nil {
			return 0, err
		}
	}
	for _, r := range c.rows {
		if _, found := b.lookup(r.k); found {
			return 0, &wire.Error{Code: "23505", Message: "duplicate key value violates unique constraint"}
		}
		v := r.v
		b.set(r.k, &v)
	}
	return len(c.rows), nil
}

func (b *Backend) copyTo(st *statement) (tag string, err *wire.Error) {
	b.say(copyResponse('H', 2))
	keys := b.scan(st.text)
	for _, k := range keys {
		v, _ := b.lookup(k)
		b.say(wire.AppendCopyData(nil, []byte(k+"\t"+strconv.Itoa(int(v))+"\n")))
	}
	b.say(wire.AppendFrame(nil, 'c', nil))
	return "COPY " + strconv.Itoa(len(keys)), nil
}

func (b *Backend) copyTexts(st *statement) (tag string, err *wire.Error) {
	b.say(copyResponse('H', 1))
	for i := range max(st.n, 0) {
		b.say(wire.AppendCopyData(nil, []byte(st.key.text+strconv.Itoa(int(i)+1)+"\n")))
	}
	b.say(wire.AppendFrame(nil, 'c', nil))
	return "COPY " + strconv.Itoa(int(max(st.n, 0))), nil
}
