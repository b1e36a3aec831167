package simtest

import (
	"encoding/binary"
	"strconv"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// rowDescription describes columns, in the format of a portal if there is one.
func rowDescription(cols []column, p *portal) []byte {
	be := binary.BigEndian
	body := be.AppendUint16(nil, uint16(len(cols)))
	for _, c := range cols {
		body = append(append(body, c.name...), 0)
		body = be.AppendUint32(body, 0) // table
		body = be.AppendUint16(body, 0) // its column
		body = be.AppendUint32(body, c.oid)
		body = be.AppendUint16(body, uint16(c.size))
		body = be.AppendUint32(body, 0xffffffff) // no modifier
		format := int16(0)
		if p != nil {
			format = p.format
		}
		body = be.AppendUint16(body, uint16(format))
	}
	return wire.AppendFrame(nil, 'T', body)
}

func parameterDescription(types []uint32) []byte {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(types)))
	for _, oid := range types {
		body = binary.BigEndian.AppendUint32(body, oid)
	}
	return wire.AppendFrame(nil, 't', body)
}

// dataRow is a row of one column.
func dataRow(v value, c column, format int16) []byte {
	be := binary.BigEndian
	body := be.AppendUint16(nil, 1)
	if v.null {
		return wire.AppendFrame(nil, 'D', be.AppendUint32(body, 0xffffffff))
	}
	datum := []byte(v.s)
	switch {
	case c.oid == oidInt4 && format == 1:
		datum = be.AppendUint32(nil, uint32(v.n))
	case c.oid == oidInt4:
		datum = strconv.AppendInt(nil, int64(v.n), 10)
	}
	return wire.AppendFrame(nil, 'D', append(be.AppendUint32(body, uint32(len(datum))), datum...))
}
