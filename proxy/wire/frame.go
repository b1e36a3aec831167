package wire

import (
	"encoding/binary"
	"strings"
)

// HeaderLen is the type byte and the int32 length, which counts itself but not the type byte.
const HeaderLen = 5

// MaxFrame is the largest length field believed. PostgreSQL refuses messages of a gigabyte (MaxAllocSize) as well.
const MaxFrame = 1 << 30

// Header reads the header of the frame at the start of b, which must hold at least HeaderLen bytes: the type and the
// whole size of the frame with its type byte. ok is false when the length field is below 4 or above MaxFrame; the
// stream is then out of step for good and its connection must be closed.
func Header(b []byte) (typ byte, size int, ok bool) {
	if len(b) < HeaderLen {
		return 0, 0, false
	}
	n := binary.BigEndian.Uint32(b[1:])
	if n-4 > MaxFrame-4 { // below 4 it wraps around to far above
		return b[0], 0, false
	}
	return b[0], int(n) + 1, true
}

// Next splits the first frame off b. ok is false when b does not begin with a whole and valid frame.
func Next(b []byte) (typ byte, body, rest []byte, ok bool) {
	typ, size, ok := Header(b)
	if !ok || size > len(b) {
		return 0, nil, b, false
	}
	return typ, b[HeaderLen:size:size], b[size:], true
}

// AppendFrame appends a frame of any type around a body that is already encoded.
func AppendFrame(dst []byte, typ byte, body []byte) []byte {
	return append(appendHeader(dst, typ, len(body)), body...)
}

// appendHeader begins a frame whose body has a size known beforehand.
func appendHeader(dst []byte, typ byte, body int) []byte {
	n := uint32(body + 4)
	return append(dst, typ, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// closeFrame writes the length of the frame that begins at start and ends with dst.
func closeFrame(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-1))
	return dst
}

// appendText appends s and the NUL that ends it.
func appendText[T Text](dst []byte, s T) []byte {
	dst = append(dst, s...)
	return append(dst, 0)
}

// Text is what a name or a statement may be kept as: callers on the hot path hold slices of a frame as well as strings
// of their own, and neither should be copied only to be appended.
type Text interface{ ~string | ~[]byte }

// untilNUL is s up to its first NUL, for texts that may come from outside the protocol.
func untilNUL(s string) string {
	if i := strings.IndexByte(s, 0); i >= 0 {
		return s[:i]
	}
	return s
}
