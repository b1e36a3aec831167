package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// lastError reads up to the end of the connection and returns the last error told.
func lastError(t *testing.T, f *pgproto3.Frontend) *pgproto3.ErrorResponse {
	t.Helper()
	var last *pgproto3.ErrorResponse
	for {
		msg, err := f.Receive()
		if err != nil {
			return last
		}
		if e, ok := msg.(*pgproto3.ErrorResponse); ok {
			one := *e
			last = &one
		}
	}
}

func TestMessagesAreBounded(t *testing.T) {
	r := start(t, State{})
	f := r.raw()
	f.Send(&pgproto3.Query{String: "SHOW LISTS -- " + strings.Repeat("x", maxMessage)})
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	if e := lastError(t, f); e == nil || e.Code != "54000" || e.Severity != "FATAL" {
		t.Errorf("%+v", e)
	}
	c := r.connect()
	r.tags(c, "SHOW LISTS -- "+strings.Repeat("x", maxMessage-100), "SHOW")
}

func TestWhatIsNoMessageEndsTheConnection(t *testing.T) {
	r := start(t, State{})
	for _, b := range []string{"!\x00\x00\x00\x04", "Q\x00\x00\x00\x01", "Q\x00\x00\x00\x05x", "B\x00\x00\x00\x05\x00", "p\x00\x00\x00\x06a\x00", "X"} {
		h, err := r.connect().Hijack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Conn.Write([]byte(b)); err != nil {
			t.Fatal(err)
		}
		if b == "X" {
			_ = h.Conn.Close()
			continue
		}
		if e := lastError(t, h.Frontend); e == nil || e.Code != "08P01" || e.Severity != "FATAL" {
			t.Errorf("%q: %+v", b, e)
		}
		_ = h.Conn.Close()
	}
}

func TestPreparedStatementsAreBounded(t *testing.T) {
	r := start(t, State{})
	c := r.connect()
	var err error
	made := 0
	for ; err == nil && made < 2*maxStatements; made++ {
		_, err = c.Prepare(testContext(t), fmt.Sprintf("s%d", made), "SHOW LISTS", nil)
	}
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != "53400" || made != maxStatements+1 {
		t.Errorf("%d statements, %v", made, err)
	}
	r.tags(c, "DEALLOCATE ALL", "DEALLOCATE ALL")
	if _, err := c.Prepare(testContext(t), "again", "SHOW LISTS", nil); err != nil {
		t.Error(err)
	}
}

// What is answered does not pile up until a Sync comes: a client that sends much and reads nothing is not read any more.
func TestAnswersDoNotPileUp(t *testing.T) {
	r := start(t, State{})
	h, err := r.connect().Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Conn.Close()
	var b []byte
	b = wire.AppendParse(b, "", "SHOW CLIENTS", nil)
	for range 1000 {
		b = wire.AppendDescribe(b, 'S', "")
	}
	_ = h.Conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	sent := 0
	for sent < 256<<20 && err == nil {
		var n int
		n, err = h.Conn.Write(b)
		sent += n
	}
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%d bytes were taken, %v", sent, err)
	}
}

// pipe is a Serve at the other end of a pipe.
func pipe(ctx context.Context, t *testing.T, console Console) (client net.Conn, f *pgproto3.Frontend, ended chan error) {
	t.Helper()
	here, there := net.Pipe()
	ended = make(chan error, 1)
	go func() {
		defer there.Close()
		ended <- Serve(ctx, there, Who{User: "op", Access: Operate, Secret: []byte("1234")}, console)
	}()
	f = pgproto3.NewFrontend(here, here)
	for {
		msg, err := f.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if _, ready := msg.(*pgproto3.ReadyForQuery); ready {
			return here, f, ended
		}
	}
}

func TestIdleClientsAreEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, f, ended := pipe(context.Background(), t, Console{})
		defer client.Close()
		start := time.Now()
		if e := lastError(t, f); e == nil || e.Code != "57P05" {
			t.Errorf("%+v", e)
		}
		if err := <-ended; err == nil || time.Since(start) < idleTime {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// A client that does not read is given up, also when the server ends meanwhile.
func TestSlowReadersAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		for _, shutdown := range []bool{false, true} {
			client, f, ended := pipe(ctx, t, Console{})
			f.Send(&pgproto3.Query{String: "SELECT 1"})
			if err := f.Flush(); err != nil {
				t.Fatal(err)
			}
			start, most := time.Now(), writeTime
			if shutdown {
				synctest.Wait()
				stop()
				most = farewellTime
			}
			if err := <-ended; err == nil || time.Since(start) > most {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
			_ = client.Close()
		}
		stop()
	})
}

func TestTheEndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		client, f, ended := pipe(ctx, t, Console{})
		defer client.Close()
		synctest.Wait()
		stop()
		if e := lastError(t, f); e == nil || e.Code != "57P01" || e.Severity != "FATAL" {
			t.Errorf("%+v", e)
		}
		if err := <-ended; err == nil {
			t.Error("no reason")
		}
	})
}

// A command that waits ends when its client cancels it, hangs up, or the server ends; what its client has sent meanwhile is
// not lost.
func TestWaitingCommands(t *testing.T) {
	r := start(t, State{})
	began, causes := make(chan struct{}, 1), make(chan error, 1)
	r.doing = func(ctx context.Context, _ Command) error {
		began <- struct{}{}
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return ctx.Err()
	}
	cause := func(want error) {
		t.Helper()
		select {
		case got := <-causes:
			if !errors.Is(got, want) {
				t.Errorf("cause %v, want %v", got, want)
			}
		case <-time.After(patience):
			t.Fatal("the command does not end")
		}
	}
	f := r.raw()
	f.Send(&pgproto3.Query{String: "PAUSE"})
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	<-began
	f.Send(&pgproto3.Query{String: "SELECT 'behind'"})
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	r.cancel <- struct{}{}
	cause(ErrCanceled)
	got := r.answer(f, 'Z')
	if e, ok := got[0].(*pgproto3.ErrorResponse); !ok || e.Code != "57014" {
		t.Errorf("%+v", got)
	}
	if got := r.types(f, 'Z'); got != "TDCZ" {
		t.Errorf("what was sent meanwhile: %s", got)
	}

	r.cancel <- struct{}{} // nothing runs: the next command is not meant
	h, err := r.connect().Hijack()
	if err != nil {
		t.Fatal(err)
	}
	h.Frontend.Send(&pgproto3.Query{String: "PAUSE"})
	if err := h.Frontend.Flush(); err != nil {
		t.Fatal(err)
	}
	<-began
	_ = h.Conn.Close()
	cause(ErrGone)

	h, err = r.connect().Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Conn.Close()
	h.Frontend.Send(&pgproto3.Query{String: "PAUSE"})
	if err := h.Frontend.Flush(); err != nil {
		t.Fatal(err)
	}
	<-began
	r.stop()
	cause(context.Canceled)
}

// What a client sent together with its login is not lost.
func TestWhatCameEarly(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		defer there.Close()
		early := append(wire.AppendQuery(nil, "SELECT 1"), wire.AppendTerminate(nil)...)
		_ = Serve(context.Background(), there, Who{User: "op", Secret: []byte("1234"), Early: early}, Console{})
	}()
	f := pgproto3.NewFrontend(here, here)
	rows := 0
	for {
		msg, err := f.Receive()
		if err != nil {
			break
		}
		if _, ok := msg.(*pgproto3.DataRow); ok {
			rows++
		}
	}
	if rows != 1 {
		t.Errorf("%d rows", rows)
	}
}
