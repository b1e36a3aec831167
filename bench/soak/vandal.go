package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// vandal is a client that misbehaves. Whatever it writes is never committed.
type vandal struct {
	id      int
	addr    string
	config  *pgconn.Config
	book    *book
	tally   *tally
	faults  *faults
	workers []*worker
	random  *rand.Rand // of this phase
	did     recent
}

// prank is one kind of misbehaviour.
type prank struct {
	name string
	play func(context.Context) error
}

func (v *vandal) pranks() []prank {
	return []prank{
		{"vanish in a transaction", v.vanishInTransaction},
		{"vanish in a COPY", v.vanishInCopy},
		{"vanish in an extended COPY", v.vanishInExtendedCopy},
		{"vanish behind a Flush", v.vanishBehindFlush},
		{"vanish while the server works", v.vanishWhileWorking},
		{"leave answers unread", v.leaveUnread},
		{"send half a message", v.halfMessage},
		{"send garbage", v.garbage},
		{"read slowly", v.readSlowly},
		{"storm of logins", v.storm},
		{"wrong password", v.wrongPassword},
		{"cancel with a wrong key", v.bogusCancel},
	}
}

// run plays until ctx ends.
func (v *vandal) run(ctx context.Context, random *rand.Rand) {
	v.random = random
	pranks := v.pranks()
	for ctx.Err() == nil {
		p := pranks[v.random.IntN(len(pranks))]
		v.did.add("— %s", p.name)
		v.tally.add(p.name)
		bounded, stop := context.WithTimeout(context.WithoutCancel(ctx), patience)
		if err := p.play(bounded); err != nil {
			v.faults.add(fmt.Sprintf("vandal %d, %s", v.id, p.name), v.did.list(), "%v", err)
		}
		stop()
		_ = pause(ctx, time.Duration(v.random.IntN(200))*time.Millisecond)
	}
}

// storm comes and goes as fast as it can, at every point of the login.
func (v *vandal) storm(ctx context.Context) error {
	for range 10 + v.random.IntN(20) {
		var err error
		switch v.random.IntN(4) {
		case 0:
			err = v.logInAndLeave(ctx)
		case 1:
			err = v.hello(ctx, nil)
		default:
			err = v.hello(ctx, v.startup())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *vandal) logInAndLeave(ctx context.Context) error {
	conn, err := pgconn.ConnectConfig(ctx, v.config)
	if err != nil {
		return err
	}
	if v.random.IntN(2) == 0 {
		return conn.Close(ctx)
	}
	h, err := conn.Hijack()
	if err != nil {
		return err
	}
	v.end(h.Conn)
	return nil
}

// startup is the beginning of a login, whole or cut, or something else.
func (v *vandal) startup() []byte {
	b := wire.AppendStartup(nil, wire.Version30, []wire.Param{{Name: "user", Value: user}, {Name: "database", Value: database}})
	switch v.random.IntN(5) {
	case 0:
		return b[:1+v.random.IntN(len(b)-1)]
	case 1:
		binary.BigEndian.PutUint32(b, v.random.Uint32()) // a length that is too long, mostly
	case 2:
		for i := range b {
			b[i] = byte(v.random.Uint32())
		}
	case 3:
		return wire.AppendSSLRequest(nil)
	}
	return b
}

// hello opens a connection, sends b, maybe waits for what comes, and goes.
func (v *vandal) hello(ctx context.Context, b []byte) error {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", v.addr)
	if err != nil {
		return err
	}
	defer v.end(nc)
	if _, err := nc.Write(b); err != nil {
		return err
	}
	if v.random.IntN(2) == 0 {
		_ = nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, _ = nc.Read(make([]byte, 100))
	}
	return nil
}

// end closes a connection with a FIN or a RST.
func (v *vandal) end(nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok && v.random.IntN(2) == 0 {
		_ = tcp.SetLinger(0)
	}
	_ = nc.Close()
}

func (v *vandal) wrongPassword(ctx context.Context) error {
	config := v.config.Copy()
	config.Password += "?"
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err == nil {
		return errors.Join(wrongf("a wrong password let it in"), conn.Close(ctx))
	}
	var told *pgconn.PgError
	if !errors.As(err, &told) || told.Code != "28P01" {
		return fmt.Errorf("login with a wrong password: %w", err)
	}
	return nil
}

// bogusCancel asks to cancel a worker's statement, and has not got its key.
func (v *vandal) bogusCancel(ctx context.Context) error {
	s := v.workers[v.random.IntN(len(v.workers))].live.Load()
	if s == nil {
		return nil
	}
	secret := append([]byte(nil), s.conn.SecretKey()...)
	secret[v.random.IntN(len(secret))] ^= byte(1 << v.random.IntN(8))
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", v.addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	if _, err := nc.Write(wire.AppendCancelRequest(nil, s.conn.PID(), secret)); err != nil {
		return err
	}
	_ = nc.SetReadDeadline(time.Now().Add(cancelTime))
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("a cancel request with a wrong key was not met with silence: %w", err)
	}
	return nil
}

// raw logs in and takes the bare connection.
func (v *vandal) raw(ctx context.Context) (*pgconn.HijackedConn, error) {
	conn, err := pgconn.ConnectConfig(ctx, v.config)
	if err != nil {
		return nil, err
	}
	h, err := conn.Hijack()
	if err != nil {
		return nil, err
	}
	return h, h.Conn.SetDeadline(time.Now().Add(patience))
}

// told makes an error of an ErrorResponse: io.EOF where it says that the server connection was terminated.
func told(e *pgproto3.ErrorResponse) error {
	err := pgconn.ErrorResponseToPgError(e)
	if serverLost(err) {
		return io.EOF
	}
	return err
}

// until reads up to a message of one of the kinds given.
func until(f *pgproto3.Frontend, kinds ...pgproto3.BackendMessage) error {
	for {
		m, err := f.Receive()
		if err != nil {
			return err
		}
		if e, ok := m.(*pgproto3.ErrorResponse); ok {
			return told(e)
		}
		for _, kind := range kinds {
			if fmt.Sprintf("%T", m) == fmt.Sprintf("%T", kind) {
				return nil
			}
		}
	}
}
