// Package wire is the bytes of the PostgreSQL protocol, version 3: it walks frames, appends frames, and looks inside
// the few messages a pooler must understand. It does no I/O, keeps no state and imports nothing else of this module.
//
// Things to know before using it:
//
//   - An encoder (Append…) appends one whole frame to dst and returns the longer slice, as append does; it takes memory
//     only when dst is too small. Strings must hold no NUL byte, for the protocol ends them with one; the texts of an
//     Error and of a startup packet, which may come from anywhere, are cut at their first NUL.
//   - A decoder takes the body of a frame, the bytes after its header. What it returns aliases that body and lives as
//     long as the buffer does; DecodeStartup, DecodeOptions and ParseError copy, because their results outlive it.
//   - ok=false says that the body is not what its type byte promised. The frame's length still holds, so the stream
//     stays in step: a message of a client may be passed on for the server to refuse.
//   - No input makes a function of this package panic, and no length is believed before it is checked.
//
// Reading order: frame.go (headers), message.go (what a client sends), reply.go (what a server sends), decode.go,
// startup.go and options.go (the first packet), error.go and sqlstate.go (what a client is told).
package wire
