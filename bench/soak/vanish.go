package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// The vandals' clients that vanish. Each writes under a token that must not be in the tables afterwards.

// with logs in, plays on the bare connection, and ends it rudely.
func (v *vandal) with(ctx context.Context, play func(*pgconn.HijackedConn) error) error {
	h, err := v.raw(ctx)
	if err != nil {
		return fmt.Errorf("login: %w", err)
	}
	defer v.end(h.Conn)
	if err = play(h); gone(err) {
		v.tally.add(foundLost)
		return nil
	}
	return err
}

// gone reports whether err is the end of a connection.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || // pgconn itself closes after a write that failed in a COPY
		errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (v *vandal) insert() string {
	t := v.book.begin(0)
	return fmt.Sprintf("INSERT INTO history (token, delta) VALUES (%d, %d)", t, t.delta())
}

// linger waits a little, or not at all.
func (v *vandal) linger(ctx context.Context) {
	if v.random.IntN(2) == 0 {
		_ = pause(ctx, time.Duration(v.random.IntN(30))*time.Millisecond)
	}
}

func query(h *pgconn.HijackedConn, sql string, answered ...pgproto3.BackendMessage) error {
	h.Frontend.Send(&pgproto3.Query{String: sql})
	if err := h.Frontend.Flush(); err != nil {
		return err
	}
	if len(answered) == 0 {
		return nil
	}
	return until(h.Frontend, answered...)
}

func (v *vandal) vanishInTransaction(ctx context.Context) error {
	return v.with(ctx, func(h *pgconn.HijackedConn) error {
		if err := query(h, "BEGIN", &pgproto3.ReadyForQuery{}); err != nil {
			return err
		}
		if err := query(h, v.insert(), &pgproto3.ReadyForQuery{}); err != nil {
			return err
		}
		v.linger(ctx)
		return nil
	})
}

func (v *vandal) vanishInCopy(ctx context.Context) error {
	return v.with(ctx, func(h *pgconn.HijackedConn) error {
		if err := query(h, copyIn, &pgproto3.CopyInResponse{}); err != nil {
			return err
		}
		return v.sendLines(ctx, h)
	})
}

// vanishInExtendedCopy has a Sync behind its COPY, which the COPY swallows.
func (v *vandal) vanishInExtendedCopy(ctx context.Context) error {
	return v.with(ctx, func(h *pgconn.HijackedConn) error {
		h.Frontend.Send(&pgproto3.Parse{Query: copyIn})
		h.Frontend.Send(&pgproto3.Bind{})
		h.Frontend.Send(&pgproto3.Execute{})
		h.Frontend.Send(&pgproto3.Sync{})
		if err := h.Frontend.Flush(); err != nil {
			return err
		}
		if err := until(h.Frontend, &pgproto3.CopyInResponse{}); err != nil {
			return err
		}
		return v.sendLines(ctx, h)
	})
}

// sendLines sends some data of a COPY, and no CopyDone. The last message may be cut short.
func (v *vandal) sendLines(ctx context.Context, h *pgconn.HijackedConn) error {
	const most = 100
	l := &lines{token: v.book.begin(most), text: "of a vandal"}
	for n := range v.random.IntN(most) {
		b := wire.AppendCopyData(nil, l.line(n))
		if v.random.IntN(most) == 0 {
			_, err := h.Conn.Write(b[:v.random.IntN(len(b))])
			return err
		}
		if _, err := h.Conn.Write(b); err != nil {
			return err
		}
	}
	if v.random.IntN(4) == 0 {
		_, err := h.Conn.Write(wire.AppendTerminate(nil))
		return err
	}
	v.linger(ctx)
	return nil
}

// vanishBehindFlush leaves an implicit transaction open.
func (v *vandal) vanishBehindFlush(ctx context.Context) error {
	return v.with(ctx, func(h *pgconn.HijackedConn) error {
		h.Frontend.Send(&pgproto3.Parse{Query: v.insert()})
		h.Frontend.Send(&pgproto3.Bind{})
		h.Frontend.Send(&pgproto3.Execute{})
		h.Frontend.Send(&pgproto3.Flush{})
		if err := h.Frontend.Flush(); err != nil {
			return err
		}
		if v.random.IntN(2) == 0 {
			return nil
		}
		err := until(h.Frontend, &pgproto3.CommandComplete{})
		v.linger(ctx)
		return err
	})
}

func (v *vandal) vanishWhileWorking(ctx context.Context) error {
	return v.with(ctx, func(h *pgconn.HijackedConn) error {
		err := query(h, "BEGIN; "+v.insert()+"; SELECT pg_sleep(3)")
		v.linger(ctx)
		return err
	})
}

// leaveUnread asks for more than all buffers on the way can take, and reads nothing of it.
func (v *vandal) leaveUnread(ctx context.Context) error {
	return v.with(ctx, func(h *pgconn.HijackedConn) error {
		for range 1 + v.random.IntN(5) {
			if err := query(h, "SELECT repeat('u', 8000) FROM generate_series(1, 1000)"); err != nil {
				return err
			}
		}
		_ = pause(ctx, time.Duration(v.random.IntN(700))*time.Millisecond)
		return nil
	})
}

// halfMessage sends part of a statement, in a transaction or not.
func (v *vandal) halfMessage(ctx context.Context) error {
	return v.with(ctx, func(h *pgconn.HijackedConn) error {
		if v.random.IntN(2) == 0 {
			if err := query(h, "BEGIN", &pgproto3.ReadyForQuery{}); err != nil {
				return err
			}
		}
		b := wire.AppendQuery(nil, v.insert()+"; COMMIT")
		_, err := h.Conn.Write(b[:1+v.random.IntN(len(b)-1)])
		v.linger(ctx)
		return err
	})
}

// garbage must end the connection, and nothing else.
func (v *vandal) garbage(ctx context.Context) error {
	return v.with(ctx, func(h *pgconn.HijackedConn) error {
		if v.random.IntN(2) == 0 {
			if err := query(h, "BEGIN; "+v.insert(), &pgproto3.ReadyForQuery{}); err != nil {
				return err
			}
		}
		b := make([]byte, 5+v.random.IntN(200))
		for i := range b {
			b[i] = byte(v.random.Uint32())
		}
		b[0] = 0x80 | b[0] // no message of a client has such a type
		_, err := h.Conn.Write(b)
		if err == nil {
			err = until(h.Frontend)
		}
		var told *pgconn.PgError
		if errors.As(err, &told) && told.Severity == "FATAL" && told.Code == wire.CodeProtocolViolation || gone(err) {
			return nil // a RST for what was not read may have overtaken the message
		}
		return fmt.Errorf("garbage was answered with %w", err)
	})
}

// readSlowly takes a large answer a little at a time. All of it must come, and in order.
func (v *vandal) readSlowly(ctx context.Context) error {
	return v.with(ctx, func(h *pgconn.HijackedConn) error {
		const rows, pad = 700, 8000 // more than the buffers on the way hold
		if tcp, ok := h.Conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(256 << 10)
		}
		tag := fmt.Sprintf("slow-%d-%d", v.id, v.random.Uint64())
		sql := fmt.Sprintf("SELECT '%s', n, repeat('s', %d) FROM generate_series(1, %d) n", tag, pad, rows)
		if err := query(h, sql, &pgproto3.RowDescription{}); err != nil {
			return err
		}
		for n := 1; n <= rows; n++ {
			m, err := h.Frontend.Receive()
			if err != nil {
				return err
			}
			if err := checkSlow(m, tag, n, pad); err != nil {
				return err
			}
			if n%20 == 0 {
				_ = pause(ctx, time.Duration(v.random.IntN(80))*time.Millisecond)
			}
		}
		return until(h.Frontend, &pgproto3.ReadyForQuery{})
	})
}

func checkSlow(m pgproto3.BackendMessage, tag string, n, pad int) error {
	switch m := m.(type) {
	case *pgproto3.DataRow:
		want := []string{tag, number(n), strings.Repeat("s", pad)}
		if !slices.EqualFunc(m.Values, want, func(a []byte, b string) bool { return string(a) == b }) {
			return wrongf("row %d for %s is %s", n, tag, show(m.Values))
		}
		return nil
	case *pgproto3.ErrorResponse:
		return told(m)
	}
	return wrongf("a %T instead of row %d for %s", m, n, tag)
}
