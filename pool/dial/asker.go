package dial

import (
	"context"
	"errors"
	"maps"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Asker asks a server short questions of our own, one after another, on a connection that no client has anything to do
// with. The connection is made when there is a question and closed when there was none for a while. An Asker may be used
// by any goroutine.
type Asker struct {
	config *pgconn.Config
	rest   time.Duration
	turn   chan struct{} // holds one token; whoever has it owns what follows
	conn   *pgconn.PgConn
	timer  *time.Timer // closes conn
	closed bool
}

// maxRows is how many rows of an answer are kept: a question has a short answer.
const maxRows = 64

// NewAsker makes one. settings go into the startup packet, where they stand above those of the role and the database; the
// connection is closed after rest without a question. Close ends it.
func (c Config) NewAsker(settings []wire.Param, rest time.Duration) *Asker {
	pg := *c.pg
	pg.RuntimeParams = maps.Clone(pg.RuntimeParams)
	if pg.RuntimeParams == nil {
		pg.RuntimeParams = make(map[string]string)
	}
	for _, s := range settings {
		pg.RuntimeParams[s.Name] = s.Value
	}
	pg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		return dialer().DialContext(ctx, network, address)
	}
	pg.AfterNetConnect = handshake
	if c.newest {
		pg.MaxProtocolVersion = "3.0" // nothing of a newer one is needed
	}
	a := &Asker{config: &pg, rest: rest, turn: make(chan struct{}, 1)}
	a.turn <- struct{}{}
	return a
}

// errClosed is the answer of an Asker that is closed.
var errClosed = errors.New("closed")

// Ask runs one statement with parameters in text format and returns the first rows; a NULL is nil. The end of ctx ends
// the question. Its error is an *Error.
func (a *Asker) Ask(ctx context.Context, sql string, args ...string) (rows [][][]byte, err error) {
	select {
	case <-a.turn:
	case <-ctx.Done():
		return nil, newError(ctx, ctx.Err())
	}
	defer func() { a.turn <- struct{}{} }()
	if a.timer != nil {
		a.timer.Stop()
	}
	values := make([][]byte, len(args))
	for i, text := range args {
		values[i] = []byte(text)
	}
	used := a.conn != nil
	rows, err = a.once(ctx, sql, values)
	if err != nil && used && a.conn == nil && ctx.Err() == nil {
		rows, err = a.once(ctx, sql, values) // the server may have closed it while it was idle
	}
	if a.conn != nil {
		a.timer = time.AfterFunc(a.rest, a.sleep)
	}
	if err != nil {
		return nil, newError(ctx, err)
	}
	return rows, nil
}

// once asks once; a connection that is no longer any good is gone afterwards. The caller has the turn.
func (a *Asker) once(ctx context.Context, sql string, values [][]byte) (rows [][][]byte, err error) {
	if a.closed {
		return nil, errClosed
	}
	if a.conn == nil {
		if a.conn, err = pgconn.ConnectConfig(ctx, a.config); err != nil {
			a.conn = nil
			return nil, err
		}
	}
	answer := a.conn.ExecParams(ctx, sql, values, nil, nil, nil)
	for answer.NextRow() {
		if len(rows) < maxRows {
			rows = append(rows, cloned(answer.Values()))
		}
	}
	if _, err = answer.Close(); err != nil && (a.conn.IsClosed() || a.conn.TxStatus() != 'I') {
		a.hangUp()
	}
	return rows, err
}

func cloned(row [][]byte) [][]byte {
	kept := make([][]byte, len(row))
	for i, value := range row {
		if value != nil {
			kept[i] = append([]byte{}, value...)
		}
	}
	return kept
}

// sleep closes the connection when there was nothing to ask for a while.
func (a *Asker) sleep() {
	select {
	case <-a.turn:
		a.hangUp()
		a.turn <- struct{}{}
	default: // there is something to ask
	}
}

// hangUp closes the connection. The caller has the turn.
func (a *Asker) hangUp() {
	if a.conn == nil {
		return
	}
	if !a.conn.IsClosed() {
		socket := a.conn.Conn()
		_ = socket.SetDeadline(time.Now().Add(farewell))
		_, _ = socket.Write(wire.AppendTerminate(nil))
		_ = socket.Close()
	}
	a.conn = nil
}

// farewell is how long saying goodbye to a server may take.
const farewell = time.Second

// Close waits for the question under way and closes the connection. Further questions fail.
func (a *Asker) Close() {
	<-a.turn
	if a.closed = true; a.timer != nil {
		a.timer.Stop()
	}
	a.hangUp()
	a.turn <- struct{}{}
}
