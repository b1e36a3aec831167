package admin

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// The formats of a column in a result.
const (
	textFormat   int16 = 0
	binaryFormat int16 = 1
)

// typeOf is a column's type as PostgreSQL knows it: its OID and its length, -1 where that varies.
func typeOf(letter byte) (oid uint32, size int16) {
	switch letter {
	case 'i':
		return 23, 4 // int4
	case 'q':
		return 20, 8 // int8
	case 'N':
		return 1700, -1 // numeric
	case 'b':
		return 17, -1 // bytea
	case 't':
		return 16, 1 // bool
	}
	return 25, -1 // text
}

// description is the RowDescription of columns in the formats of a Bind.
func description(all []column, formats []int16) *pgproto3.RowDescription {
	d := &pgproto3.RowDescription{Fields: make([]pgproto3.FieldDescription, len(all))}
	for i, c := range all {
		oid, size := typeOf(c.typ)
		d.Fields[i] = pgproto3.FieldDescription{
			Name: []byte(c.name), DataTypeOID: oid, DataTypeSize: size, TypeModifier: -1, Format: formatOf(formats, i),
		}
	}
	return d
}

// formatOf is the format of column i: none means text for all, one is for all.
func formatOf(formats []int16, i int) int16 {
	switch len(formats) {
	case 0:
		return textFormat
	case 1:
		return formats[0]
	}
	return formats[i]
}

// checkFormats refuses a Bind that asks for what there is not.
func checkFormats(all []column, formats []int16) *wire.Error {
	if n := len(formats); n > 1 && n != len(all) {
		return refusal(wire.CodeProtocolViolation, "bind message has %d result formats but query has %d columns", n, len(all))
	}
	for _, f := range formats {
		if f != textFormat && f != binaryFormat {
			return refusal(wire.CodeProtocolViolation, "unsupported format code: %d", f)
		}
	}
	return nil
}

// encode is a row in the formats of a Bind.
func encode(all []column, formats []int16, row []any) *pgproto3.DataRow {
	values := make([][]byte, len(row))
	for i, v := range row {
		if v != nil {
			values[i] = encodeValue(all[i].typ, formatOf(formats, i), v)
		}
	}
	return &pgproto3.DataRow{Values: values}
}

func encodeValue(typ byte, format int16, v any) []byte {
	switch v := v.(type) {
	case string:
		return append([]byte{}, strings.ToValidUTF8(v, "?")...) // empty, not NULL; a client may have another encoding
	case bool:
		if format == binaryFormat {
			return []byte{map[bool]byte{true: 1}[v]}
		}
		return strconv.AppendBool(nil, v)[:1]
	case int64:
		if format == textFormat {
			return strconv.AppendInt(nil, v, 10)
		}
		return binaryNumber(typ, v)
	}
	panic(fmt.Sprintf("admin: a row holds a %T", v)) // the tables of views are ours
}

func binaryNumber(typ byte, v int64) []byte {
	switch typ {
	case 'i':
		return binary.BigEndian.AppendUint32(nil, uint32(v))
	case 'q':
		return binary.BigEndian.AppendUint64(nil, uint64(v))
	}
	return binaryNumeric(v)
}

// binaryNumeric is a numeric without a fraction: the number of its digits to the base of 10,000, the power of the first of
// them, the sign, the number of decimals shown, and the digits.
func binaryNumeric(v int64) []byte {
	const base, minus = 10_000, 0x4000
	sign, rest := uint16(0), uint64(v)
	if v < 0 {
		sign, rest = minus, -rest
	}
	var digits []uint16
	for ; rest > 0; rest /= base {
		digits = append(digits, uint16(rest%base))
	}
	weight := max(len(digits)-1, 0)
	b := binary.BigEndian.AppendUint16(nil, uint16(len(digits)))
	b = binary.BigEndian.AppendUint16(b, uint16(weight))
	b = binary.BigEndian.AppendUint16(b, sign)
	b = binary.BigEndian.AppendUint16(b, 0)
	for i := len(digits) - 1; i >= 0; i-- {
		b = binary.BigEndian.AppendUint16(b, digits[i])
	}
	return b
}
