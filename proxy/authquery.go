package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/singleflight"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// AuthQuery finds the users that the configuration does not name: a server's own roles.
type AuthQuery struct {
	SQL      string        // has the user as $1; "" is no query
	User     string        // runs it; "": as the DSN says
	Password string        // of User
	Database string        // where it runs; "": in the database the client wants
	Cache    time.Duration // how long an answer is good for; that there is no such user a third of it
	AsDSN    bool          // servers are logged in to as the DSN says, instead of as the user who was found
}

// server is where the query runs for a database. A client's choice of a database opens no connection: all that "*" stands
// for are asked about in one.
func (q AuthQuery) server(db *Database) dial.Config {
	c := db.Server
	user, password := c.User(), c.Password()
	if q.User != "" {
		user, password = q.User, q.Password
	}
	database := q.Database
	if database == "" && db.Name == "*" && c.Database() == "" {
		database = "postgres"
	}
	return c.WithUser(user, database, password)
}

// PgAuthid is the query over the server's own table of roles, which superusers may read and those they let. Its third
// column is how many seconds the password is still good for.
const PgAuthid = `SELECT rolname, rolpassword,
	CASE WHEN rolvaliduntil < now() THEN 0 WHEN isfinite(rolvaliduntil) THEN extract(epoch FROM rolvaliduntil - now()) END
	FROM pg_catalog.pg_authid WHERE rolname = $1 AND rolcanlogin`

// Bounds on the questions about users, and on what is kept of the answers.
const (
	queryTimeout = 5 * time.Second
	queryRest    = 30 * time.Second // the connection is closed when nobody logged in for so long
	barredTime   = time.Minute      // after the server did not permit the query
	failedTime   = time.Second      // after it failed otherwise
	maxFound     = 10_000
)

// roles asks one server about its roles. It keeps a connection of its own, which no client and nothing of a client's
// start-up packet ever gets at: names are looked up in pg_catalog unless the query says otherwise. It lasts as long as
// configurations ask the same server in the same way.
type roles struct {
	source roleSource
	ctx    context.Context // the Server's: a question outlives the login that asks first, for others wait for it too
	asker  *dial.Asker
	log    *slog.Logger
	flight singleflight.Group
	barred atomic.Int64 // unix nanoseconds until which the server is not asked

	mu    sync.Mutex
	found map[string]finding
	down  finding   // of any user, while the server cannot be reached
	noted time.Time // when the log was last told of a fault
}

// roleSource is what makes two roles the same.
type roleSource struct {
	server dial.Config
	sql    string
	cache  time.Duration
}

func (s roleSource) equal(o roleSource) bool {
	return s.sql == o.sql && s.cache == o.cache && s.server.Equal(o.server)
}

// finding is what is known of a user.
type finding struct {
	secret  login.Secret
	known   bool
	err     error
	text    string    // the secret as the server gave it, to see whether it is the same
	expires time.Time // of the password; zero: never
	until   time.Time // this answer is good
	asked   time.Time
}

func newRoles(ctx context.Context, source roleSource, log *slog.Logger) *roles {
	settings := []wire.Param{
		{Name: "search_path", Value: "pg_catalog"},
		{Name: "statement_timeout", Value: strconv.FormatInt(queryTimeout.Milliseconds(), 10)},
		{Name: "client_encoding", Value: "UTF8"},
		{Name: "application_name", Value: "sarnic logins"},
	}
	return &roles{
		source: source, ctx: ctx, log: log, asker: source.server.NewAsker(settings, queryRest), found: make(map[string]finding),
	}
}

// find is a login.Lookup in the roles of the server.
func (r *roles) find(ctx context.Context, user string) (login.Secret, bool, error) {
	if !utf8.ValidString(user) {
		return login.Secret{}, false, nil // cut within a letter, or another encoding: no role of the server
	}
	now := time.Now()
	r.mu.Lock()
	a, ok := r.found[user]
	down := r.down
	r.mu.Unlock()
	switch {
	case ok && now.Before(a.until):
		return a.result(now)
	case now.Before(down.until):
		return down.result(now)
	case now.UnixNano() < r.barred.Load():
		return login.Secret{}, false, nil
	}
	asking := r.flight.DoChan(user, func() (any, error) { return r.ask(user), nil })
	select {
	case result := <-asking:
		a, _ = result.Val.(finding)
		return a.result(time.Now())
	case <-ctx.Done():
		return login.Secret{}, false, ctx.Err()
	}
}

func (a *finding) result(now time.Time) (login.Secret, bool, error) {
	if !a.expires.IsZero() && !now.Before(a.expires) {
		return login.NoSecret("the password has expired"), true, a.err
	}
	return a.secret, a.known, a.err
}

// doubt has the user asked about again at the next login, because this one has failed: the password may be a new one. A
// failure right after the question is no reason.
func (r *roles) doubt(user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a, ok := r.found[user]; ok && time.Since(a.asked) > failedTime/4 {
		a.until = time.Time{}
		r.found[user] = a
	}
}

// ask asks the server, and keeps what it says.
func (r *roles) ask(user string) finding {
	ctx, cancel := context.WithTimeout(r.ctx, queryTimeout)
	defer cancel()
	rows, err := r.asker.Ask(ctx, r.source.sql, user)
	a := finding{asked: time.Now()}
	var fault *dial.Error
	switch {
	case err == nil:
		a = r.read(user, rows, a)
	case errors.As(err, &fault) && r.source.sql == PgAuthid && strings.HasPrefix(fault.Told.Code, "42"):
		r.bar(err) // no permission, or no such table: a server of another kind
		return a
	default:
		a.err, a.until = r.fault(err), a.asked.Add(failedTime)
		if unreachable(err) {
			r.mu.Lock()
			r.down = a
			r.mu.Unlock()
			return a
		}
	}
	r.keep(user, a)
	return a
}

// unreachable tells a server that nobody can be asked about from a question that failed.
func unreachable(err error) bool {
	var e *dial.Error
	return errors.As(err, &e) && e.Kind != dial.Rejected && e.Kind != dial.Timeout
}

// fault is an error of which clients are told only what they would see of a server that is not there.
func (r *roles) fault(err error) error {
	r.note(err)
	var e *dial.Error
	if !errors.As(err, &e) || slices.ContainsFunc([]string{"08", "53", "57P"}, func(class string) bool {
		return strings.HasPrefix(e.Told.Code, class)
	}) {
		return fmt.Errorf("auth query: %w", err)
	}
	return fmt.Errorf("auth query: %w", e.Err)
}

// note tells the log of a fault, not more often than it takes to read it: anybody may cause one by any name.
func (r *roles) note(err error) {
	r.mu.Lock()
	quiet := time.Since(r.noted) < failedTime
	if !quiet {
		r.noted = time.Now()
	}
	r.mu.Unlock()
	if !quiet {
		r.log.Warn("the auth query failed", "server", r.source.server, "error", err)
	}
}

// bar stops asking for a while.
func (r *roles) bar(err error) {
	now := time.Now()
	if r.barred.Swap(now.Add(barredTime).UnixNano()) > now.UnixNano() {
		return // several have asked at the same time
	}
	r.log.Warn("the server does not permit the auth query: only the users of the configuration can log in",
		"server", r.source.server, "again_in", barredTime, "error", err)
}

// read reads the row of a user: name, secret, and the seconds it is good for, if the query has them.
func (r *roles) read(user string, rows [][][]byte, a finding) finding {
	a.until = a.asked.Add(r.source.cache / 3)
	switch {
	case len(rows) == 0:
		return a
	case len(rows) > 1 || len(rows[0]) < 2 || string(rows[0][0]) != user:
		r.log.Warn("the auth query must return one row with the user and its secret", "server", r.source.server, "user", user)
		return a
	}
	a.known = true
	a.until = a.asked.Add(r.source.cache)
	if rows[0][1] == nil {
		a.secret = login.NoSecret("the user has no password, or it has expired")
		return a
	}
	a.text = string(rows[0][1])
	r.mu.Lock()
	before, ok := r.found[user]
	r.mu.Unlock()
	var err error
	if ok && before.text == a.text {
		a.secret = before.secret // and what was derived from it
	} else if a.secret, err = login.ParseSecret(user, a.text); err != nil {
		a.secret = login.NoSecret(err.Error())
	}
	if len(rows[0]) > 2 && rows[0][2] != nil {
		seconds, err := strconv.ParseFloat(string(rows[0][2]), 64)
		if a.expires = a.asked; err == nil && seconds > 0 {
			a.expires = a.asked.Add(time.Duration(min(seconds, maxSeconds) * float64(time.Second)))
		}
	}
	return a
}

// maxSeconds is as far in the future as a Duration goes, about.
const maxSeconds = 1e9

// keep remembers a finding. Where there are too many, those that are no longer good go first.
func (r *roles) keep(user string, a finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.found) >= maxFound {
		maps.DeleteFunc(r.found, func(_ string, old finding) bool { return !a.asked.Before(old.until) })
		for name := range r.found {
			if len(r.found) < maxFound*3/4 { // so that this is not done each time
				break
			}
			delete(r.found, name)
		}
	}
	r.found[user] = a
}

// membersSQL asks whether user $1 belongs to role $2, directly or through others. As in pg_hba.conf a superuser belongs
// to none but its own.
const membersSQL = `WITH RECURSIVE roles(oid) AS (
		SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1
		UNION SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN roles ON m.member = roles.oid
	) SELECT 1 FROM pg_catalog.pg_roles JOIN roles USING (oid) WHERE rolname = $2`

// member reports whether user belongs to role. It is asked at each login that a rule makes depend on it.
func (r *roles) member(ctx context.Context, user, role string) (bool, error) {
	if !utf8.ValidString(user) {
		return false, nil
	}
	asking := r.flight.DoChan(user+"\x00"+role, func() (any, error) {
		ctx, cancel := context.WithTimeout(r.ctx, queryTimeout)
		defer cancel()
		return r.asker.Ask(ctx, membersSQL, user, role)
	})
	select {
	case result := <-asking:
		if result.Err != nil {
			return false, r.fault(result.Err)
		}
		rows, _ := result.Val.([][][]byte)
		return len(rows) > 0, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// close ends the connection.
func (r *roles) close() { r.asker.Close() }
