package simtest

import (
	"bytes"
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
	b.say(copyResponse('G'))
	b.flush()
}

// copyResponse announces two columns of text.
func copyResponse(typ byte) []byte { return wire.AppendFrame(nil, typ, []byte{0, 0, 2, 0, 0, 0, 0}) }

// copyMessage is a message while the server reads COPY data. Sync and Flush are nothing to it.
func (b *Backend) copyMessage(typ byte, body []byte) {
	c := b.copying
	switch typ {
	case 'd':
		if err := c.data(body); err != nil {
			b.endCopy(err, "")
		}
	case 'c':
		n, err := c.insert(b)
		b.endCopy(err, "COPY "+strconv.Itoa(n))
	case 'f':
		reason, _, _ := bytes.Cut(body, []byte{0})
		b.endCopy(&wire.Error{Code: wire.CodeQueryCanceled, Message: "COPY from stdin failed: " + string(reason)}, "")
	case 'H', 'S':
	case 'X':
		b.end()
	default:
		b.endCopy(&wire.Error{Code: wire.CodeProtocolViolation, Message: "unexpected message type during COPY from stdin"}, "")
	}
}

func (b *Backend) endCopy(err *wire.Error, tag string) {
	c := b.copying
	b.copying = nil
	c.then(err, tag)
}

// data takes what a CopyData brings. A line that cannot be read is an error at once.
func (c *copyIn) data(p []byte) *wire.Error {
	c.buf = append(c.buf, p...)
	for !c.eof {
		line, rest, whole := bytes.Cut(c.buf, []byte("\n"))
		if !whole {
			return nil
		}
		c.buf = rest
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
	b.say(copyResponse('H'))
	keys := b.scan(st.text)
	for _, k := range keys {
		v, _ := b.lookup(k)
		b.say(wire.AppendCopyData(nil, []byte(k+"\t"+strconv.Itoa(int(v))+"\n")))
	}
	b.say(wire.AppendFrame(nil, 'c', nil))
	return "COPY " + strconv.Itoa(len(keys)), nil
}
