package proxy

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// explosive is a log handler that panics at one message: the panic is in the middle of a session's code.
type explosive struct {
	slog.Handler
	at string
}

func (e explosive) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == e.at {
		panic("boom")
	}
	return e.Handler.Handle(ctx, r)
}

// A session whose code panics ends, and its server connection with it. Nothing of it stays in the books, and the others
// go on.
func TestPanicEndsOneSession(t *testing.T) {
	pg := pgtest.Server(t, 18)
	name := pg.NewDatabase(t)
	cfg := config(t, pg.AdminDSN(name))
	cfg.Databases[0].Name, cfg.Databases[0].Pool.Size = name, 1
	log := &lockedBuffer{}
	r := startLogging(t, cfg, log, explosive{
		Handler: slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}), at: "session pinned",
	})
	r.mayPanic = true
	other, err := r.login(name)
	if err != nil {
		t.Fatal(err)
	}
	ask(t, other, "CREATE TABLE kept (n int)")
	server := ask(t, other, "SELECT pid FROM pg_stat_activity WHERE pid = pg_backend_pid()")
	for range 3 {
		conn, err := r.login(name, "application_name", "crashes")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Prepare(t.Context(), "left behind", "SELECT 1", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "INSERT INTO kept VALUES (1); SELECT setseed(0.5)").ReadAll(); err == nil {
			t.Error("a session that panicked answers")
		}
		if got := ask(t, other, "SELECT count(*) FROM kept"); got != "0" {
			t.Errorf("%s rows of a session that panicked", got)
		}
		if now := ask(t, other, "SELECT pid FROM pg_stat_activity WHERE pid = pg_backend_pid()"); now == server {
			t.Error("the server connection of a session that panicked is used again")
		} else {
			server = now
		}
	}
	if n := strings.Count(log.String(), "msg=\"fiber panicked"); n != 3 {
		t.Errorf("%d panics in the log", n)
	}
	r.eventually("one session is left", func() bool { return r.srv.Stats().Clients == 1 })
	if n := r.srv.texts.Len(); n != 0 {
		t.Errorf("%d statements are still referred to", n)
	}
	r.srv.settings.mu.Lock()
	defer r.srv.settings.mu.Unlock()
	for _, st := range r.srv.settings.all {
		if st.refs != 0 && strings.Contains(st.key, "crashes") {
			t.Errorf("settings %q have %d references", st.key, st.refs)
		}
	}
}
