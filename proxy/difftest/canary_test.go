package difftest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
)

const (
	canaries     = 6
	canaryRounds = 80
)

// TestCanary lets several clients work at the same time. Each owns a secret, which is in its statements, rows, settings,
// notices, errors and notifications: any sight of another's, and any miss of the own, is a failure.
func TestCanary(t *testing.T) {
	for _, size := range []int{1, 2} {
		t.Run(fmt.Sprintf("pool of %d", size), func(t *testing.T) {
			onEachServer(t, size, func(t *testing.T, r *room, p *proxy) {
				r.mustExec(t, canarySetup)
				flock(t, r, p, plainHabits)
				r.nothingLeft(t, size)
			})
		})
	}
}

// TestCanaryWithSessionState does the same with what stays on a server connection; each client may need its own.
func TestCanaryWithSessionState(t *testing.T) {
	onEachServer(t, canaries, func(t *testing.T, r *room, p *proxy) {
		r.mustExec(t, canarySetup)
		flock(t, r, p, append(sessionHabits, plainHabits...))
	})
}

const canarySetup = `CREATE TABLE nest (v text); ALTER TABLE nest OWNER TO app;
	CREATE FUNCTION sing(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', $1; RETURN $1; END $$;
	CREATE FUNCTION cry(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', $1; END $$`

// flock lets all canaries do their habits in a random order.
func flock(t *testing.T, r *room, p *proxy, habits []habit) {
	var all sync.WaitGroup
	for i := range canaries {
		all.Go(func() {
			c := &canary{room: r, proxy: p, number: i, random: rand.New(rand.NewPCG(uint64(r.version), uint64(i)))}
			if err := c.live(habits); err != nil {
				t.Errorf("canary %d: %v", i, err)
			}
		})
	}
	all.Wait()
}

// canary is a client with a secret. A new life has a new secret.
type canary struct {
	*client
	room     *room
	proxy    *proxy
	number   int
	lives    int
	secret   string
	leaked   []byte
	random   *rand.Rand
	prepared bool // statement s holds the secret
	unnamed  bool // the unnamed statement does
	kept     bool // setting, table and channel do
}

// habit is something a canary does over and over.
type habit struct {
	name string
	do   func(c *canary) error
}

var secretPattern = regexp.MustCompile(`canary\d+life\d+end`)

// live is a client's life: habits in random order, and now and then an end and a new life.
func (c *canary) live(habits []habit) error {
	for range canaryRounds {
		if c.client == nil {
			if err := c.hatch(); err != nil {
				return fmt.Errorf("login: %w", err)
			}
		}
		h := habits[c.random.IntN(len(habits))]
		if err := h.do(c); err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		if c.leaked != nil {
			return fmt.Errorf("%s: owner of %s was shown %q", h.name, c.secret, c.leaked)
		}
	}
	if c.client != nil {
		c.close()
	}
	return nil
}

func (c *canary) hatch() error {
	c.lives++
	c.secret = fmt.Sprintf("canary%dlife%dend", c.number, c.lives)
	c.prepared, c.unnamed, c.kept = false, false, false
	client, err := tryJoin(c.proxy.addr, c.secret, c.room.account())
	if err != nil {
		return err
	}
	client.wait = 2 * patience // all may queue for one connection
	if c.random.IntN(2) == 0 {
		client.pieces = c.random
	}
	client.scanner = func(f frame) {
		for _, found := range secretPattern.FindAll(f.body, -1) {
			if string(found) != c.secret {
				c.leaked = bytes.Clone(f.body)
			}
		}
	}
	c.client = client
	return nil
}

// says sends messages and fails unless the answer is the one wanted; SECRET in both stands for the secret.
func (c *canary) says(line, want string) error {
	_, answers, err := expectation(want)
	if err != nil {
		return err
	}
	got, err := c.ask(strings.ReplaceAll(line, "SECRET", c.secret), answers)
	if want = strings.ReplaceAll(want, "SECRET", c.secret); err == nil && got != want {
		err = fmt.Errorf("expected %s\ncame     %s", want, got)
	}
	return err
}

const (
	toldSecret  = `DataRow SECRET | CommandComplete "SELECT 1"`
	shownSecret = `RowDescription ?column?:25 | ` + toldSecret + ` | ReadyForQuery I`
)

// simple is a habit that is one line and its answer.
func simple(name, line, want string) habit {
	return habit{name, func(c *canary) error {
		c.unnamed = c.unnamed && !strings.Contains(line, "Query") && !strings.Contains(line, `Parse ""`)
		return c.says(line, want)
	}}
}

var plainHabits = []habit{
	simple("select", `Query "SELECT 'SECRET'"`, shownSecret),
	simple("extended", `Parse "" "SELECT 'SECRET'" | Bind "" "" [] | Execute "" | Sync`, "ParseComplete | BindComplete | "+toldSecret+" | ReadyForQuery I"),
	simple("parameter", `Parse "" "SELECT $1::text" | Bind "" "" ["SECRET"] | Execute "" | Sync`, "ParseComplete | BindComplete | "+toldSecret+" | ReadyForQuery I"),
	simple("rows", `Query "BEGIN" | Query "INSERT INTO nest VALUES ('SECRET')" | Query "SELECT v FROM nest" | Query "ROLLBACK"`,
		`CommandComplete BEGIN | ReadyForQuery T | CommandComplete "INSERT 0 1" | ReadyForQuery T | RowDescription v:25 | `+toldSecret+
			` | ReadyForQuery T | CommandComplete ROLLBACK | ReadyForQuery I`),
	simple("local setting", `Query "BEGIN; SET LOCAL application_name = 'SECRET'" | Query "SHOW application_name" | Query "COMMIT"`,
		`CommandComplete BEGIN | CommandComplete SET | ParameterStatus application_name=SECRET | ReadyForQuery T | `+
			`RowDescription application_name:25 | DataRow SECRET | CommandComplete SHOW | ReadyForQuery T | `+
			`CommandComplete COMMIT | ParameterStatus application_name="" | ReadyForQuery I`),
	simple("notice", `Query "SELECT sing('SECRET')"`, `RowDescription sing:25 | NoticeResponse NOTICE 00000 "SECRET" | `+toldSecret+` | ReadyForQuery I`),
	simple("error", `Query "SELECT cry('SECRET')" | Query "SELECT 'SECRET'"`, "RowDescription cry:25 | ErrorResponse P0001 | ReadyForQuery I | "+shownSecret),
	simple("error in a pipeline", `Parse "" "SELECT cry('SECRET')" | Bind "" "" [] | Execute "" | Query "SELECT 'SECRET'" | Sync`,
		"ParseComplete | BindComplete | ErrorResponse P0001 | ReadyForQuery I"),
	simple("copy out", `Query "COPY (SELECT 'SECRET') TO STDOUT"`, `CopyOutResponse | CopyData "SECRET\n" | CopyDone | CommandComplete "COPY 1" | ReadyForQuery I`),
	simple("copy in", `Query "COPY nest FROM STDIN" | CopyData "SECRET\n" | CopyFail "SECRET"`, `CopyInResponse | ErrorResponse 57014 | ReadyForQuery I`),
	simple("function call", `FunctionCall 1283 ["SECRET"]`, `FunctionCallResponse 'SECRET' | ReadyForQuery I`),
	simple("portal", `Query "BEGIN" | Parse "" "SELECT 'SECRET' FROM generate_series(1, 3)" | Bind p "" [] | Execute p 1 | Sync | Execute p 1 | Sync | Query "COMMIT"`,
		`CommandComplete BEGIN | ReadyForQuery T | ParseComplete | BindComplete | DataRow SECRET | PortalSuspended | ReadyForQuery T | `+
			`DataRow SECRET | PortalSuspended | ReadyForQuery T | CommandComplete COMMIT | ReadyForQuery I`),
	{"named statement", (*canary).useNamed},
	{"unnamed statement", (*canary).useUnnamed},
	{"cancel", (*canary).cancelOwn},
	{"end", (*canary).die},
}

// useNamed prepares the statement once in a life, and runs it from then on.
func (c *canary) useNamed() error {
	if !c.prepared {
		c.prepared = true
		return c.says(`Parse s "SELECT 'SECRET'" | Describe S s | Sync`, "ParseComplete | ParameterDescription | RowDescription ?column?:25 | ReadyForQuery I")
	}
	return c.says(`Bind "" s [] | Execute "" | Sync`, "BindComplete | "+toldSecret+" | ReadyForQuery I")
}

func (c *canary) useUnnamed() error {
	if !c.unnamed {
		c.unnamed = true
		return c.says(`Parse "" "SELECT 'SECRET'" | Sync`, "ParseComplete | ReadyForQuery I")
	}
	return c.says(`Bind "" "" [] | Execute "" | Sync`, "BindComplete | "+toldSecret+" | ReadyForQuery I")
}

// cancelOwn cancels its own statement at a random time; whether it is hit or not, the next one is not.
func (c *canary) cancelOwn() error {
	c.unnamed = false
	done := make(chan error, 1)
	go func() { done <- c.cancel(c.proxy.addr) }()
	got, err := c.ask(`Query "SELECT pg_sleep(0.001), '`+c.secret+`'"`, 1)
	if err != nil {
		return err
	}
	if !strings.Contains(got, "57014") && got != fmt.Sprintf(slept, c.secret) {
		return fmt.Errorf("came %s", got)
	}
	if err := <-done; err != nil {
		return err
	}
	return c.says(`Query "SELECT 'SECRET'"`, shownSecret)
}

// die ends a life in the middle of something.
func (c *canary) die() error {
	if c.random.IntN(3) > 0 {
		return nil
	}
	last := []string{
		`Query "BEGIN; INSERT INTO nest VALUES ('SECRET')"`, `Parse "" "SELECT 'SECRET'" | Flush`, `Query "COPY nest FROM STDIN" | CopyData "SECRET\n"`,
		`100x Query "SELECT repeat('SECRET', 100)"`, `Query "SELECT pg_sleep(0.01), 'SECRET'"`, `Query "BEGIN; SET LOCAL application_name = 'SECRET'"`,
	}
	b, err := encodeLine(strings.ReplaceAll(last[c.random.IntN(len(last))], "SECRET", c.secret))
	if err != nil {
		return err
	}
	if err := c.write(b); err != nil {
		return err
	}
	if c.random.IntN(2) == 0 {
		c.reset()
	} else {
		c.close()
	}
	c.client = nil
	return nil
}

var sessionHabits = []habit{{"keep", (*canary).keep}, {"keep", (*canary).keep}, {"keep", (*canary).keep}, {"keep", (*canary).keep}}

// keep puts the secret into session state once in a life, and looks for it from then on.
func (c *canary) keep() error {
	c.unnamed = false
	if !c.kept {
		c.kept = true
		return c.says(`Query "SET my.secret = 'SECRET'" | Query "CREATE TEMP TABLE own AS SELECT 'SECRET' AS v" | Query "LISTEN SECRET" | Query "PREPARE kept AS SELECT 'SECRET'"`,
			`4x(CommandComplete | ReadyForQuery I)`)
	}
	return c.says(`Query "SHOW my.secret" | Query "SELECT v FROM own" | Query "NOTIFY SECRET, 'SECRET'" | Query "EXECUTE kept"`,
		`RowDescription my.secret:25 | DataRow SECRET | CommandComplete SHOW | ReadyForQuery I | RowDescription v:25 | `+toldSecret+` | ReadyForQuery I | `+
			`CommandComplete NOTIFY | NotificationResponse SECRET SECRET | ReadyForQuery I | `+shownSecret)
}
