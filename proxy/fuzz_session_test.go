package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/loop/sim"
	"github.com/sarnicdb/sarnic/proxy/simtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// fuzzScene is a proxy with one server connection, a client that sends what the fuzzer likes, and one that asks honest
// questions all the time.
type fuzzScene struct {
	*sim.World
	srv      *Server
	loop     *loop.Loop
	pool     *pool.Pool
	db       *simtest.Database
	backends []*simtest.Backend
	log      bytes.Buffer
}

func newFuzzScene(seed uint64) (*fuzzScene, error) {
	s := &fuzzScene{}
	log := slog.New(slog.NewTextHandler(&s.log, nil))
	s.World = sim.New(seed, log)
	s.db = simtest.NewDatabase(func(d time.Duration, wake func()) { s.After(d, 0, wake) })
	srv, err := newServer(Config{Auth: login.Trust}, log)
	if err != nil {
		return nil, err
	}
	s.srv, s.loop = srv, s.Loop()
	srv.addLoop(s.loop)
	srv.pools = pool.NewSet(srv.ctx, log, func() *loop.Loop { return s.loop }, seed)
	cfg := pool.DefaultConfig()
	cfg.Size, cfg.Statements, cfg.WaitTimeout = 1, 2, 0
	s.pool = srv.pools.NewPool(pool.Options{Database: "db", User: "u", Config: cfg, Dial: s.dial, Cancel: s.cancel})
	srv.byName[poolKey{"db", "u"}] = s.pool
	s.loop.Post(func() { srv.pools.StartJanitor(s.loop) })
	return s, nil
}

func (s *fuzzScene) dial(ctx context.Context) (*dial.Server, error) {
	ours, b := simtest.Dial(s.World, s.db, fmt.Sprint("connection ", len(s.backends)))
	s.backends = append(s.backends, b)
	return &dial.Server{
		Conn: loop.NewConn(ours), PID: b.PID(), Secret: b.Secret(), TxStatus: 'I',
		Params: []wire.Param{{Name: "application_name"}, {Name: "server_version", Value: "18.0"}},
	}, ctx.Err()
}

func (s *fuzzScene) cancel(_ context.Context, to *dial.Server) error {
	if b := s.db.Backend(to.PID); b != nil {
		b.Cancel(false)
	}
	return nil
}

// fuzzClient is the other end of a session.
type fuzzClient struct {
	s    *fuzzScene
	end  *sim.End
	got  []byte
	lost bool
}

// join logs a client in; step is called whenever something may have changed for it.
func (s *fuzzScene) join(step func(c *fuzzClient)) (*fuzzClient, error) {
	ours, theirs := s.Pair("front", "client")
	in := &login.Client{Database: "db", User: "u", Version: wire.Version30, Unsent: wire.AppendAuthOK(nil)}
	sess, refusal := s.srv.newSession(in, loop.NewConn(ours), s.srv.workers[s.loop])
	if refusal != nil {
		return nil, refusal
	}
	c := &fuzzClient{s: s, end: theirs}
	s.loop.Post(func() { s.srv.start(sess, in.Unsent) })
	theirs.OnEvent(func() { c.read(); step(c) })
	return c, nil
}

func (c *fuzzClient) read() {
	var buf [4096]byte
	for !c.lost {
		n, err := c.end.TryRead(buf[:])
		c.got = append(c.got, buf[:n]...)
		if err == loop.ErrWouldBlock {
			return
		}
		c.lost = err != nil
	}
}

// greeting takes the start of what has come, up to the first ReadyForQuery.
func (c *fuzzClient) greeting() (rest []byte, ok bool) {
	b := c.got
	for {
		typ, _, rest, ok := wire.Next(b)
		if !ok || typ == 'Z' {
			return rest, ok
		}
		b = rest
	}
}

// canary asks a question of its own again and again; every answer is known to the byte.
type canary struct {
	*fuzzClient
	asked, heard int
	unsent       []byte
	quit         bool
	err          error
}

// ask sends one more question, or what is left of the last.
func (y *canary) ask() {
	if len(y.unsent) == 0 {
		y.asked++
		y.unsent = wire.AppendQuery(nil, canaryQuestion)
	}
	n, _ := y.end.TryWrite(y.unsent)
	y.unsent = y.unsent[n:]
}

const canaryQuestion = "select 20071215"

func (y *canary) step(*fuzzClient) {
	if y.fuzzClient == nil || y.err != nil {
		return
	}
	got, ok := y.greeting()
	if !ok {
		return
	}
	if len(y.unsent) > 0 {
		y.ask()
	}
	var want []byte
	for range y.asked {
		want = append(want, canaryAnswer()...)
	}
	got = withoutNotices(got)
	if !bytes.HasPrefix(want, got) {
		n := 0
		for n < min(len(got), len(want)) && got[n] == want[n] {
			n++
		}
		y.err = fmt.Errorf("the canary asked %d times and is told %q behind %d bytes that are right, not %q", y.asked, got[n:], n, want[n:])
		return
	}
	if y.heard = y.asked; len(got) < len(want) {
		y.heard--
		return
	}
	if !y.quit && y.asked < 30 {
		y.ask()
	}
}

var canaryAnswer = sync.OnceValue(func() []byte {
	b := simtest.NewDatabase(nil).Start("")
	b.Feed(wire.AppendQuery(nil, canaryQuestion))
	return b.Take()
})

// withoutNotices drops what a pool may say in between.
func withoutNotices(b []byte) (out []byte) {
	for {
		typ, _, rest, ok := wire.Next(b)
		if !ok {
			return out // the start of a frame says nothing yet
		}
		if typ != 'N' {
			out = append(out, b[:len(b)-len(rest)]...)
		}
		b = rest
	}
}

// sessionGets runs a session that is sent data, and compares what the client gets behind its greeting with what a
// server of its own would say.
func sessionGets(seed uint64, data []byte) error {
	s, err := newFuzzScene(seed)
	if err != nil {
		return err
	}
	defer s.srv.stop()
	y := &canary{}
	if y.fuzzClient, err = s.join(y.step); err != nil {
		return err
	}
	left := data
	quiet, ended := false, false
	var last int64 // when something happened to the client
	c, err := s.join(func(c *fuzzClient) {
		last = s.Now()
		if _, ok := c.greeting(); !ok || c.lost {
			return
		}
		n, err := c.end.TryWrite(left)
		left = left[n:]
		if err != nil {
			left = nil
		}
	})
	if err != nil {
		return err
	}
	// A client to whom nothing has happened for two seconds hangs up, this way or that.
	var hangUp func()
	hangUp = func() {
		if s.Now()-last < int64(2*time.Second) && s.Now() < int64(time.Minute) {
			s.After(time.Second, 1, hangUp)
			return
		}
		quiet, ended = true, c.lost
		if seed%2 == 0 {
			_ = c.end.Close()
		} else {
			c.end.CloseWrite()
		}
	}
	s.After(time.Second, 1, hangUp)
	settled := func() bool {
		st := s.pool.Stats(s.Now())
		return y.err != nil || quiet && len(s.srv.sessions) == 1 && s.db.Backends() == st.Idle && y.heard == y.asked &&
			st.Busy+st.Resetting+st.Waiting+st.Connecting == 0
	}
	if err := s.Run(2*time.Minute, settled); err != nil {
		return fmt.Errorf("hangs: %d sessions, %+v, canary %d of %d, log:\n%s\n%w",
			len(s.srv.sessions), s.pool.Stats(s.Now()), y.heard, y.asked, s.log.String(), err)
	}
	if err := s.leftovers(y); err != nil {
		return err
	}
	if got, ok := c.greeting(); ok && s.Now() < int64(time.Minute) { // not all has arrived then
		if err := likeServer(data, got, ended); err != nil {
			return err
		}
	}
	return s.Close()
}

// leftovers looks at what a session that has ended leaves behind.
func (s *fuzzScene) leftovers(y *canary) error {
	if y.err != nil {
		return y.err
	}
	for i, b := range s.backends {
		if !b.Ended() && (!b.Quiet() || b.Listens()) {
			return fmt.Errorf("server process %d of %d is not as the pool may lend it", i, len(s.backends))
		}
	}
	before := y.heard
	y.quit = true
	y.ask() // once more, now that the other has gone
	if err := s.Run(time.Hour, func() bool { return y.err != nil || y.heard > before }); err != nil {
		return fmt.Errorf("the canary is not served: %w", err)
	}
	_ = y.end.Close()
	s.srv.pools.Close()
	if err := s.Run(time.Hour, func() bool { return y.err != nil || len(s.srv.sessions) == 0 && s.loop.Stats().Conns == 0 }); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	if y.err != nil {
		return y.err
	}
	if n := s.srv.texts.Len(); n != 0 {
		return fmt.Errorf("%d statements are still referred to", n)
	}
	if log := s.log.String(); strings.Contains(log, "panicked") {
		return fmt.Errorf("the log:\n%s", log)
	}
	return nil
}

// frameSeeds are frames of all kinds, well-formed, malformed and in wrong places.
func frameSeeds() [][]byte {
	frame := func(typ byte, body string) []byte { return wire.AppendFrame(nil, typ, []byte(body)) }
	lie := func(typ byte, length uint32, body string) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{typ}, length), body...)
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	q := func(sql string) []byte { return wire.AppendQuery(nil, sql) }
	parse := func(name, sql string) []byte { return wire.AppendParse(nil, name, sql, nil) }
	bind := func(name string, params ...string) []byte {
		var values [][]byte
		for _, p := range params {
			values = append(values, []byte(p))
		}
		return wire.AppendBind(nil, "", name, nil, values, nil)
	}
	describe := func(name string) []byte { return wire.AppendDescribe(nil, 'S', name) }
	execute, sync, flush := wire.AppendExecute(nil, "", 0), wire.AppendSync(nil), wire.AppendFlush(nil)
	end, data, done := wire.AppendClose(nil, 'S', "s"), wire.AppendCopyData(nil, []byte("k\t1\n")), wire.AppendCopyDone(nil)
	var all [][]byte
	for typ := range 256 { // every type, empty, with a body, with every wrong length
		all = append(all, join(frame(byte(typ), ""), sync), join(frame(byte(typ), "\x00\x00\x00"), sync, q("select 1")))
	}
	for _, typ := range []byte("QPBDECHSFdcfX") {
		for _, length := range []uint32{0, 1, 3, 4, 5, 1 << 16, 1 << 20, 1<<20 + 1, 1<<30 - 1, 1 << 30, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
			all = append(all, lie(typ, length, "select 1\x00"), join(q("begin"), lie(typ, length, ""), sync))
		}
	}
	return append(all,
		q("select 1"), q(""), q(";"), q("select 1; select 2"), q("select nonsense"), q("select 1/0"),
		join(q("begin"), q("select 1"), q("commit")), join(q("begin"), q("select 1/0"), q("select 1"), q("rollback")), q("begin"),
		frame('Q', "select 1"), frame('Q', "select 1\x00; drop\x00"), frame('Q', "\x00\x00"), // no end, two ends
		join(parse("", "select $1::int4"), bind("", "7"), execute, sync), join(parse("s", "select 1"), describe("s"), sync, bind("s"), execute, sync),
		join(parse("s", "select 1"), parse("s", "select 2"), sync, bind("s"), execute, sync, end, sync, bind("s"), sync),
		join(bind("none"), execute, q("select 1"), sync), join(describe("none"), sync), join(wire.AppendDescribe(nil, 'P', "none"), sync),
		join(parse("s", "select 1/0"), sync, bind("s"), execute, flush, sync), join(parse("s", "select nonsense"), bind("s"), execute, sync),
		// Names that could be ours, of statements of others.
		join(bind("sarnic_1"), execute, sync), join(describe("sarnic_1"), sync), join(wire.AppendClose(nil, 'S', "sarnic_1"), sync),
		join(parse("sarnic_1", "select 1"), bind("sarnic_1"), execute, sync), q("execute sarnic_1"), q("deallocate sarnic_1"), q("prepare sarnic_2 as select 1"),
		join(parse(strings.Repeat("n", 3000), "select 1"), sync),
		// Counts and lengths that lie.
		join(frame('P', "s\x00select 1\x00\xff\xff"), sync), join(frame('P', "s\x00select 1\x00\x00\x01"), sync), join(frame('P', "s"), sync),
		join(frame('B', "\x00\x00\x00\x00\xff\xff\x00\x00"), sync), join(parse("", "select 1"), frame('B', "\x00\x00\x7f\xff"), sync),
		join(parse("", "select $1::int4"), frame('B', "\x00\x00\x00\x00\x00\x01\x7f\xff\xff\xff\x00\x00"), sync),
		join(parse("", "select $1::int4"), frame('B', "\x00\x00\x00\x00\x00\x01\x80\x00\x00\x00\x00\x00"), sync),
		join(frame('D', "X\x00"), sync), join(frame('D', "S"), sync), join(frame('C', ""), sync), join(frame('E', "\x00\x00\x00"), sync),
		join(parse("", "select 1"), bind(""), frame('E', "\x00\xff\xff\xff\xff"), sync), frame('S', "x"), frame('H', "x"), frame('X', "x"),
		frame('F', ""), frame('F', "\x00\x00\x08\x1e\x00\x00\x00\x00\x00\x00"), join(frame('F', "\x00\x00\x00"), sync),
		// COPY, and what has no place in it.
		join(q("copy kv from stdin"), data, done, q("select 1")), join(q("copy kv from stdin"), data, wire.AppendCopyFail(nil, "no"), q("select 1")),
		join(q("copy kv from stdin"), data), join(q("copy kv from stdin"), data, q("select 1")), join(data, done, q("select 1"), done),
		join(q("copy kv from stdin"), sync, flush, data, sync, done, sync), join(q("copy kv from stdin"), frame('d', "nonsense\n"), data, done),
		join(parse("", "copy kv from stdin"), bind(""), execute, sync, data, done, sync), join(parse("", "copy kv from stdin"), bind(""), execute, sync, sync, data, done, sync, q("select 1")),
		join(parse("", "copy kv from stdin"), bind(""), execute, data, done, sync), join(parse("", "copy kv from stdin"), bind(""), execute, data, wire.AppendCopyFail(nil, ""), sync, q("select 1")),
		join(q("copy kv from stdin"), frame('f', "no end")), join(q("copy kv from stdin"), wire.AppendTerminate(nil)),
		q(`copy (select k, v from kv where k like 'x%' order by k collate "C") to stdout`),
		// Unfinished, and pipelined.
		parse("s", "select 1"), join(parse("s", "select 1"), flush), join(parse("s", "select 1"), bind("s"), execute), flush, join(flush, flush, sync),
		join(bytes.Repeat(q("select 1"), 300)), bytes.Repeat(join(parse("", "select 1"), bind(""), execute, sync), 100), bytes.Repeat(sync, 500),
		join(q("begin"), parse("s", "select 1"), bind("s"), execute), join(q("select pg_sleep(0.500)"), q("select 1")), q("select pg_sleep(0.999)"),
		// State that stays.
		join(q("set application_name = 'x'"), q("show application_name")), q("listen news"), join(q("listen news"), q("notify news, 'x'")), q("prepare p as select 1"),
		join(q("begin"), q("declare c cursor for select 1"), q("fetch 1 c"), q("rollback")), join(q("begin"), q("savepoint s"), q("select 1/0"), q("rollback to s"), q("commit")),
		join(parse("s", "select 1"), sync, q("deallocate all"), parse("s", "select 2"), sync, bind("s"), execute, sync), join(parse("s", "select 1"), sync, q("discard all"), bind("s"), sync),
		q("discard all"), join(q("set application_name = 'x'"), q("discard all"), q("show application_name")),
		join(parse("a", "select 1"), parse("b", "select 2"), parse("c", "select 3"), sync, bind("a"), execute, bind("b"), execute, bind("c"), execute, sync),
		join(parse("a", "select 1"), end, parse("s", "select 2"), end, parse("s", "select 3"), bind("s"), execute, sync),
		join(parse("", "select 1"), sync, q("select 2"), bind(""), execute, sync), join(bind(""), sync), join(wire.AppendClose(nil, 'S', ""), sync, bind(""), sync),
		// What a Close in a skipped part of the pipeline did not close, one behind the next Sync does.
		join(parse("s", "select 1"), sync, bind("none"), end, sync, end, sync, parse("s", "select 2"), sync, bind("s"), execute, sync),
		join(parse("", "select 1"), sync, bind("none"), wire.AppendClose(nil, 'S', ""), sync, wire.AppendClose(nil, 'S', ""), sync, bind(""), execute, sync),
		join(parse("", "select 1"), sync, bind("none"), q("select 2"), sync, q("select 3"), bind(""), execute, sync),
		frame('Q', strings.Repeat("x", 1<<20)), frame('Q', strings.Repeat(" ", 1<<20)+"select 1\x00"), join(frame('B', strings.Repeat("\x00", 1<<20)), sync), frame('d', strings.Repeat("x", 1<<20)),
		join(frame('P', "\x00"+strings.Repeat("x", 1<<20)+"\x00\x00\x00"), sync), []byte("GET / HTTP/1.1\r\n\r\n"), wire.AppendStartup(nil, wire.Version30, nil), []byte{0}, nil,
	)
}

// Every seed of the fuzz target, in several schedules.
func TestSessionSurvives(t *testing.T) {
	for i, data := range frameSeeds() {
		for seed := range uint64(3) {
			if seed > 0 && (i < 512 || len(data) > 1<<20) {
				continue
			}
			if err := sessionGets(seed, data); err != nil {
				t.Errorf("seed %d, data %d, %.200q: %v", seed, i, data, err)
			}
		}
	}
}

// told is what an answer comes to: types, and what may not differ between a server's own and ours.
func told(b []byte) (out []string) {
	for {
		typ, body, rest, ok := wire.Next(b)
		if !ok {
			return out
		}
		b = rest
		switch typ {
		case 'N', 'S', 'A':
		case 'E':
			severity, code := wire.ErrorCode(body)
			out = append(out, fmt.Sprintf("E %s %s", severity, code))
		default:
			out = append(out, fmt.Sprintf("%c %q", typ, body))
		}
	}
}

// directGets is what a server of its own tells a client that sends data. ok is false where time plays a part.
func directGets(data []byte) (got []byte, ok bool) {
	slept := false
	b := simtest.NewDatabase(func(time.Duration, func()) { slept = true }).Start("")
	b.Feed(data)
	return b.Take(), !slept
}

// likeServer compares an answer with that of a server of one's own. Where the session ended by itself, which a server's
// own may not see any reason for (a COPY never ended, a frame too large), what came last may be lost on the way.
func likeServer(data, got []byte, ended bool) error {
	want, ok := directGets(data)
	if !ok || hasBody(data, 'H') || hasBody(data, 'S') {
		return nil // time plays a part, or the model does not look there
	}
	g, w := told(got), told(want)
	isFatal := func(s string) bool { return strings.HasPrefix(s, "E FATAL") }
	if ended || slices.ContainsFunc(w, isFatal) {
		g, w = slices.DeleteFunc(g, isFatal), slices.DeleteFunc(w, isFatal)
		n := min(len(g), len(w))
		g, w = g[:n], w[:n]
	}
	// What stands behind the last Sync may be told earlier than a server would, not later, and nothing else.
	flushed, _ := directGets(append(bytes.Clone(data), wire.AppendFlush(nil)...))
	if len(g) > len(w) && len(told(flushed)) >= len(g) {
		w = told(flushed)[:len(g)]
	}
	for i := range max(len(g), len(w)) {
		switch {
		case i < min(len(g), len(w)) && g[i] == w[i]:
		case i < min(len(g), len(w)) && i > 0 && w[i] == "E ERROR 08P01" && w[i-1][0] == 'G' && g[i] == "E ERROR 57014":
			return nil // a message that has no place in a COPY and would wait here ends it, and the session goes on
		case i < min(len(g), len(w)) && g[i] == "E ERROR 25P02" && status(g[:i]) == `Z "E"`:
			return nil // in a failed transaction nothing can be prepared, so there may be no other answer
		default:
			return fmt.Errorf("the client is told %q, a server's own says %q, the same up to %d", g, w, i)
		}
	}
	return nil
}

// status is the last ReadyForQuery of an answer.
func status(told []string) string {
	for _, s := range slices.Backward(told) {
		if s[0] == 'Z' {
			return s
		}
	}
	return ""
}

// hasBody reports whether a frame of a type that has none has one.
func hasBody(data []byte, typ byte) bool {
	for {
		t, body, rest, ok := wire.Next(data)
		if !ok {
			return false
		}
		if t == typ && len(body) > 0 {
			return true
		}
		data = rest
	}
}

// FuzzSession: whatever a logged-in client sends, nothing panics or hangs, nobody else is touched, and the server
// connection is closed or in step.
func FuzzSession(f *testing.F) {
	for i, data := range frameSeeds() {
		if len(data) < 10000 {
			f.Add(uint64(i), data)
		}
	}
	f.Fuzz(func(t *testing.T, seed uint64, data []byte) {
		if len(data) > 100000 || bytes.Contains(data, []byte("$1")) && bytes.Contains(data, []byte("Q")) {
			return // the model knows parameters in a Parse only
		}
		if err := sessionGets(seed, data); err != nil {
			t.Fatal(err)
		}
	})
}
