package difftest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// answers are the frames each step of a transcript read, by the step's index.
type answers map[int][]frame

// run plays a transcript once, against one address.
type run struct {
	script  *transcript
	addr    string
	who     account
	super   *pgconn.PgConn
	pieces  *rand.Rand      // not nil: all writes are cut into pieces
	secure  map[string]bool // the clients that speak TLS
	oracle  answers         // nil in the direct run, which is the oracle
	compare *comparison     // used with oracle
	clients map[string]*client
	got     answers
}

// play does all steps and returns what was read, as far as it got.
func (r *run) play(ctx context.Context) (answers, error) { return r.playOn(ctx, nil) }

// playOn does all steps, and then those that more adds to the transcript, as long as it does.
func (r *run) playOn(ctx context.Context, more func(last []frame) []step) (answers, error) {
	r.clients, r.got, r.compare = map[string]*client{}, answers{}, newComparison()
	defer func() {
		for _, c := range r.clients {
			c.close()
		}
	}()
	var last []frame
	for i := 0; ; i++ {
		if i == len(r.script.steps) && more != nil {
			r.script.steps = append(r.script.steps, more(last)...)
		}
		if i == len(r.script.steps) {
			return r.got, nil
		}
		st := r.script.steps[i]
		if err := r.do(ctx, i, st); err != nil {
			return r.got, fmt.Errorf("%s\n%w", r.script.place(st), err)
		}
		last = r.got[i]
	}
}

func (r *run) do(ctx context.Context, i int, st step) error {
	switch st.verb {
	case verbSetup, verbSuper:
		return r.super.Exec(ctx, st.text).Close()
	case verbSuperTil:
		return r.waitUntil(ctx, st.text)
	case verbConnect:
		return r.connect(st.who, st.text)
	case verbJoin:
		if err := r.connect(st.who, ""); err != nil {
			return err
		}
		return r.read(i, r.clients[st.who], 'Z', 1)
	}
	c := r.clients[st.who]
	switch st.verb {
	case verbSend, verbCut:
		return r.send(c, st)
	case verbRest:
		rest := c.held
		c.held = nil
		return c.write(rest)
	case verbRead:
		return r.readExpected(i, c, st)
	case verbNothing:
		return expectNothing(c)
	default:
		return r.end(i, c, st)
	}
}

// end does the steps by which a client goes, or asks for a cancel.
func (r *run) end(i int, c *client, st step) error {
	switch st.verb {
	case verbLeave:
		if err := c.write([]byte{'X', 0, 0, 0, 4}); err != nil {
			return err
		}
		return r.read(i, c, endOfStream, 1)
	case verbVanish:
		c.close()
	case verbReset:
		c.reset()
	case verbCancel:
		return c.cancel(r.addr)
	case verbMiscall:
		wrong := append([]byte{c.secret[0] ^ 1}, c.secret[1:]...)
		return cancelKey(r.addr, c.pid, wrong)
	}
	return nil
}

// connect logs a client in. Its text: version=3.2 and startup parameters; user, database and password as they are given.
func (r *run) connect(name, text string) error {
	c, err := dial(name, r.addr)
	if err != nil {
		return err
	}
	r.clients[name] = c
	if r.secure[name] {
		if err := c.secure(); err != nil {
			return err
		}
	}
	c.pieces = r.pieces
	who, version, extra, err := r.settings(text)
	if err != nil {
		return err
	}
	if err := c.login(who, version, extra...); err != nil {
		return err
	}
	sortSettings(c.unread)
	return nil
}

func (r *run) settings(text string) (account, uint32, []setting, error) {
	who, version, extra := r.who, uint32(protocol30), []setting(nil)
	tokens, err := lex(text)
	if err != nil {
		return who, 0, nil, err
	}
	for i := 0; i < len(tokens); i++ {
		name, value, ok := strings.Cut(tokens[i].text, "=")
		if !ok {
			return who, 0, nil, fmt.Errorf("%q is no setting", tokens[i].text)
		}
		if value == "" && i+1 < len(tokens) && tokens[i+1].quoted {
			i++
			value = tokens[i].text
		}
		switch name {
		case "version":
			version, err = protocolVersion(value)
			if err != nil {
				return who, 0, nil, err
			}
		case "user":
			who.user = value
		case "database":
			who.database = value
		case "password":
			who.password = value
		default:
			extra = append(extra, setting{name, value})
		}
	}
	return who, version, extra, nil
}

func protocolVersion(text string) (uint32, error) {
	major, minor, _ := strings.Cut(text, ".")
	a, err := strconv.Atoi(major)
	if err != nil {
		return 0, err
	}
	b, err := strconv.Atoi(minor)
	return uint32(a<<16 | b), err
}

func (r *run) send(c *client, st step) error {
	b, err := encodeLine(st.text)
	if err != nil {
		return err
	}
	if st.verb == verbCut {
		b, c.held = b[:st.size], b[st.size:]
	}
	return c.write(b)
}

// readExpected reads the frames a transcript lists. In the direct run they must be as listed.
func (r *run) readExpected(i int, c *client, st step) error {
	last, count, err := expectation(st.text)
	if err != nil {
		return err
	}
	typ, err := typeNamed(last)
	if err != nil {
		return err
	}
	if err := r.read(i, c, typ, count); err != nil {
		return err
	}
	if r.oracle != nil || *rewrite || st.from < 0 {
		return nil
	}
	if got := foldFrames(r.got[i]); got != st.text {
		return fmt.Errorf("expected %s\ncame     %s", st.text, got)
	}
	return nil
}

func typeNamed(name string) (byte, error) {
	if name == "End" {
		return endOfStream, nil
	}
	for typ, n := range serverMessages {
		if n == name {
			return typ, nil
		}
	}
	return 0, fmt.Errorf("no message of the server is called %q", name)
}

// read takes frames from c: in the direct run up to the count-th of type typ, in a proxied run as many as the direct
// run got, each compared as it comes.
func (r *run) read(i int, c *client, typ byte, count int) error {
	if r.oracle == nil {
		frames, err := c.until(typ, count)
		r.got[i] = frames
		if err != nil {
			return fmt.Errorf("%w after: %s", err, foldFrames(frames))
		}
		return nil
	}
	due := r.oracle[i]
	for n := 0; n < len(due); n++ {
		proxied, err := c.next()
		if err != nil {
			return fmt.Errorf("%w, direct %s\ncame so far: %s", err, explain(due[n]), foldFrames(r.got[i]))
		}
		r.got[i] = append(r.got[i], proxied)
		if errorOfDescribe(due[n:], proxied) {
			n++
		}
		if why := r.compare.differ(due[n], proxied); why != "" {
			return fmt.Errorf("message %d to %s:\n%s%s", n+1, c.name, why, r.aftermath(c))
		}
	}
	return nil
}

// errorOfDescribe says that an error came instead of the ParameterDescription before it.
func errorOfDescribe(due []frame, proxied frame) bool {
	return len(due) > 1 && due[0].typ == 't' && due[1].typ == 'E' && proxied.typ == 'E'
}

// aftermath is what else comes at once, for the reader of a failure.
func (r *run) aftermath(c *client) string {
	var more []frame
	for len(more) < 20 {
		f, err := c.nextWithin(100 * time.Millisecond)
		if err != nil {
			break
		}
		more = append(more, f)
		if f.typ == endOfStream {
			break
		}
	}
	if len(more) == 0 {
		return ""
	}
	return "\nthen   " + foldFrames(more)
}

func expectNothing(c *client) error {
	some, err := c.pending()
	if err != nil || !some {
		return err
	}
	f, err := c.next()
	if err != nil {
		return err
	}
	return fmt.Errorf("something came: %s", describe(f))
}

// waitUntil asks the server until it says true.
func (r *run) waitUntil(ctx context.Context, sql string) error {
	return pollUntil(ctx, func() (bool, error) {
		result := r.super.ExecParams(ctx, sql, nil, nil, nil, nil).Read()
		yes := result.Err == nil && len(result.Rows) == 1 && string(result.Rows[0][0]) == "t"
		return yes, result.Err
	})
}

// pollUntil repeats a question until its answer is yes or patience ends.
func pollUntil(ctx context.Context, ask func() (bool, error)) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for tick := time.NewTicker(3 * time.Millisecond); ; {
		if yes, err := ask(); yes || err != nil {
			tick.Stop()
			return err
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return fmt.Errorf("it did not become true in %s", patience)
		case <-tick.C:
		}
	}
}
