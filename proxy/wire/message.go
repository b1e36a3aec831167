package wire

import "encoding/binary"

// AppendQuery appends a simple Query.
func AppendQuery(dst []byte, sql string) []byte {
	return appendText(appendHeader(dst, 'Q', len(sql)+1), sql)
}

// AppendParse appends a Parse; types are the OIDs of the parameters the client fixes, 0 where the server infers.
func AppendParse(dst []byte, name, sql string, types []uint32) []byte {
	dst = appendHeader(dst, 'P', len(name)+len(sql)+4+4*len(types))
	dst = appendText(dst, name)
	dst = appendText(dst, sql)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(types)))
	for _, oid := range types {
		dst = binary.BigEndian.AppendUint32(dst, oid)
	}
	return dst
}

// AppendParseTail appends a Parse whose parameter types are the raw tail that ParseMessage returned: a statement is
// carried to another server connection under another name without being taken apart.
func AppendParseTail[N, S, T Text](dst []byte, name N, sql S, types T) []byte {
	dst = appendHeader(dst, 'P', len(name)+len(sql)+2+len(types))
	dst = appendText(dst, name)
	dst = appendText(dst, sql)
	return append(dst, types...)
}

// AppendBind appends a Bind. A nil parameter is NULL; formats and results are the format codes, none for text.
func AppendBind(dst []byte, portal, statement string, formats []int16, params [][]byte, results []int16) []byte {
	start := len(dst)
	dst = appendHeader(dst, 'B', 0)
	dst = appendText(dst, portal)
	dst = appendText(dst, statement)
	dst = appendFormats(dst, formats)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(params)))
	for _, p := range params {
		dst = appendParam(dst, p)
	}
	return closeFrame(appendFormats(dst, results), start)
}

func appendFormats(dst []byte, formats []int16) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(formats)))
	for _, f := range formats {
		dst = binary.BigEndian.AppendUint16(dst, uint16(f))
	}
	return dst
}

func appendParam(dst, p []byte) []byte {
	if p == nil {
		return append(dst, 0xff, 0xff, 0xff, 0xff) // length -1: NULL
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(p)))
	return append(dst, p...)
}

// AppendBindTail appends a Bind whose parameters and formats are the rest that BindNames returned: only the statement's
// name changes on the way to the server.
func AppendBindTail[P, S, R Text](dst []byte, portal P, statement S, rest R) []byte {
	dst = appendHeader(dst, 'B', len(portal)+len(statement)+2+len(rest))
	dst = appendText(dst, portal)
	dst = appendText(dst, statement)
	return append(dst, rest...)
}

// AppendDescribe appends a Describe of a statement (kind 'S') or a portal (kind 'P').
func AppendDescribe(dst []byte, kind byte, name string) []byte {
	return appendTarget(dst, 'D', kind, name)
}

// AppendClose appends a Close of a statement (kind 'S') or a portal (kind 'P').
func AppendClose(dst []byte, kind byte, name string) []byte {
	return appendTarget(dst, 'C', kind, name)
}

func appendTarget(dst []byte, typ, kind byte, name string) []byte {
	dst = append(appendHeader(dst, typ, len(name)+2), kind)
	return appendText(dst, name)
}

// AppendExecute appends an Execute; maxRows 0 asks for all rows.
func AppendExecute(dst []byte, portal string, maxRows int32) []byte {
	dst = appendText(appendHeader(dst, 'E', len(portal)+5), portal)
	return binary.BigEndian.AppendUint32(dst, uint32(maxRows))
}

// AppendSync appends a Sync.
func AppendSync(dst []byte) []byte { return appendHeader(dst, 'S', 0) }

// AppendFlush appends a Flush.
func AppendFlush(dst []byte) []byte { return appendHeader(dst, 'H', 0) }

// AppendTerminate appends a Terminate.
func AppendTerminate(dst []byte) []byte { return appendHeader(dst, 'X', 0) }

// AppendCopyData appends a CopyData; both sides send it.
func AppendCopyData(dst, data []byte) []byte { return AppendFrame(dst, 'd', data) }

// AppendCopyDone appends a CopyDone; both sides send it.
func AppendCopyDone(dst []byte) []byte { return appendHeader(dst, 'c', 0) }

// AppendCopyFail appends a CopyFail; the server answers with 57014 and this message.
func AppendCopyFail(dst []byte, msg string) []byte {
	return appendText(appendHeader(dst, 'f', len(msg)+1), msg)
}

// AppendPassword appends a PasswordMessage: a clear password or the MD5 answer.
func AppendPassword(dst []byte, s string) []byte {
	return appendText(appendHeader(dst, 'p', len(s)+1), s)
}

// AppendSASLInitial appends a SASLInitialResponse; nil data means that the mechanism has no initial response.
func AppendSASLInitial(dst []byte, mechanism string, data []byte) []byte {
	dst = appendHeader(dst, 'p', len(mechanism)+5+len(data))
	return appendParam(appendText(dst, mechanism), data)
}

// AppendSASLResponse appends a SASLResponse.
func AppendSASLResponse(dst, data []byte) []byte { return AppendFrame(dst, 'p', data) }
