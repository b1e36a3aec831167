package pool

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// fakeDB is a server at the other end of socket pairs, and the failures that a test orders.
type fakeDB struct {
	t  testing.TB
	wg sync.WaitGroup

	mu      sync.Mutex
	conns   []*fakeConn // every one ever dialled
	open    int
	dials   int
	dialing int
	most    int           // the most dials at the same time
	fail    error         // dials fail
	hold    chan struct{} // dials wait for its end
	deaf    bool          // queries are not answered
	cancels int
	freeze  chan struct{} // cancels wait for its end
	noKey   bool
}

// fakeConn is the server's end of one connection.
type fakeConn struct {
	db   *fakeDB
	nc   net.Conn
	pid  uint32
	asks []string // guarded by db.mu
	tx   byte
}

var errDial = errors.New("no route to the database")

func newFakeDB(t testing.TB) *fakeDB {
	db := &fakeDB{t: t}
	t.Cleanup(func() {
		db.mu.Lock()
		for _, c := range db.conns {
			_ = c.nc.Close()
		}
		db.mu.Unlock()
		db.wg.Wait()
	})
	return db
}

// dial is the pool's Dialer.
func (db *fakeDB) dial(ctx context.Context) (*dial.Server, error) {
	db.mu.Lock()
	db.dials++
	db.dialing++
	db.most = max(db.most, db.dialing)
	hold := db.hold
	db.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.dialing--
	if err := errors.Join(db.fail, ctx.Err()); err != nil {
		return nil, err
	}
	here, there := socketPair(db.t)
	c := &fakeConn{db: db, nc: there, pid: uint32(len(db.conns) + 1), tx: 'I'}
	db.conns = append(db.conns, c)
	db.open++
	db.wg.Go(c.serve)
	s := &dial.Server{
		Conn: loop.Wrap(here), PID: c.pid, Secret: []byte("key!"), TxStatus: 'I',
		Params: []wire.Param{{Name: "server_version", Value: "18.0"}},
	}
	if db.noKey {
		s.PID, s.Secret = 0, nil
	}
	return s, nil
}

// cancel is the pool's Canceler.
func (db *fakeDB) cancel(ctx context.Context, _ *dial.Server) error {
	db.mu.Lock()
	db.cancels++
	freeze := db.freeze
	db.mu.Unlock()
	if freeze == nil {
		return nil
	}
	select {
	case <-freeze:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (db *fakeDB) set(change func()) {
	db.mu.Lock()
	defer db.mu.Unlock()
	change()
}

// get reads a number under the lock.
func (db *fakeDB) get(n *int) int {
	db.mu.Lock()
	defer db.mu.Unlock()
	return *n
}

// conn is the server's end of c.
func (db *fakeDB) conn(c *Conn) *fakeConn {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.conns[c.PID()-1]
}

// asked is what was asked on c.
func (db *fakeDB) asked(c *Conn) []string {
	f := db.conn(c)
	db.mu.Lock()
	defer db.mu.Unlock()
	return append([]string(nil), f.asks...)
}

// serve answers until the other side is gone.
func (c *fakeConn) serve() {
	defer func() {
		_ = c.nc.Close()
		c.db.set(func() { c.db.open-- })
	}()
	var head [wire.HeaderLen]byte
	for {
		if _, err := io.ReadFull(c.nc, head[:]); err != nil {
			return
		}
		_, size, ok := wire.Header(head[:])
		if !ok {
			return
		}
		body := make([]byte, size-wire.HeaderLen)
		if _, err := io.ReadFull(c.nc, body); err != nil {
			return
		}
		sql, _ := wire.QueryText(body)
		var deaf bool
		c.db.set(func() { c.asks = append(c.asks, string(sql)); deaf = c.db.deaf })
		if !deaf {
			c.say(c.answer(string(sql)))
		}
	}
}

func (c *fakeConn) answer(sql string) []byte {
	switch sql {
	case "":
		return wire.AppendReadyForQuery(wire.AppendEmptyQuery(nil), c.tx)
	case "BEGIN":
		c.tx = 'T'
	case "ROLLBACK":
		c.tx = 'I'
	case "DISCARD ALL":
		if c.tx != 'I' {
			out := wire.AppendError(nil, &wire.Error{Code: "25001", Message: "cannot run inside a transaction block"})
			return wire.AppendReadyForQuery(out, 'E')
		}
	}
	return wire.AppendReadyForQuery(wire.AppendCommandComplete(nil, sql), c.tx)
}

// say sends bytes to the pool; it may be gone.
func (c *fakeConn) say(b []byte) { _, _ = c.nc.Write(b) }

// socketPair is two ends of one connection.
func socketPair(t testing.TB) (a, b net.Conn) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	return fileConn(t, fds[0]), fileConn(t, fds[1])
}

func fileConn(t testing.TB, fd int) net.Conn {
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "pair")
	defer func() { _ = f.Close() }()
	nc, err := net.FileConn(f)
	if err != nil {
		t.Error(err)
	}
	return nc
}
