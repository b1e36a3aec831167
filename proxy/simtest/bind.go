package simtest

import (
	"encoding/binary"
	"strconv"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// bindTail is what follows the names in a Bind.
type bindTail struct {
	formats []int16
	params  [][]byte // nil: NULL
	results []int16
}

func decodeBind(b []byte) (m bindTail, ok bool) {
	be := binary.BigEndian
	count := func() (n int) {
		if ok = ok && len(b) >= 2; ok {
			n, b = int(be.Uint16(b)), b[2:]
		}
		return n
	}
	codes := func() (list []int16) {
		for range count() {
			list = append(list, int16(count()))
		}
		return list
	}
	ok = true
	m.formats = codes()
	for range count() {
		if ok = ok && len(b) >= 4; !ok {
			return m, false
		}
		size := int32(be.Uint32(b))
		b = b[4:]
		var v []byte
		if size >= 0 {
			if int(size) > len(b) {
				return m, false
			}
			v, b = b[:size:size], b[size:]
		}
		m.params = append(m.params, v)
	}
	m.results = codes()
	return m, ok && len(b) == 0
}

func (m bindTail) format(i int) int16 {
	switch len(m.formats) {
	case 0:
		return 0
	case 1:
		return m.formats[0]
	}
	return m.formats[i]
}

// values reads the parameters.
func (m bindTail) values(types []uint32) ([]value, *wire.Error) {
	all := make([]value, len(types))
	for i, oid := range types {
		raw := m.params[i]
		switch {
		case raw == nil:
			all[i].null = true
		case oid == oidText:
			all[i].s = string(raw)
		case m.format(i) == 1 && len(raw) == 4:
			all[i].n = int32(binary.BigEndian.Uint32(raw))
		case m.format(i) == 1:
			return nil, &wire.Error{Code: "22P03", Message: "incorrect binary data format in bind parameter"}
		default:
			n, err := strconv.ParseInt(string(raw), 10, 32)
			if err != nil {
				return nil, &wire.Error{Code: "22P02", Message: "invalid input syntax for type integer"}
			}
			all[i].n = int32(n)
		}
	}
	return all, nil
}
