package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sarnicdb/sarnic/config"
	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy"
)

const (
	watchEvery  = time.Second            // how often files are looked at
	settlePause = 100 * time.Millisecond // how long they must have looked the same before they are read
)

// reader reads the configuration again and again, and knows whether that is worth while.
type reader struct {
	again func() (settings, error)
	files []string
	seen  config.Fingerprint // of files, from just before they were read
}

// read reads the configuration. What its files look like is noted before: a change during the reading is one to come.
func (r *reader) read() (s settings, err error) {
	for range 3 { // the first time shows which files there are
		r.seen = config.FingerprintOf(r.files)
		s, err = r.again()
		if slices.Equal(r.files, s.files) {
			break
		}
		r.files = s.files
	}
	return s, err
}

// reloader keeps the proxy at what the configuration says.
type reloader struct {
	reader
	log    *slog.Logger
	apply  func(proxy.Config) error
	told   func(state string) // the service manager
	now    atomic.Pointer[settings]
	asks   chan func()
	ended  chan struct{} // closed when run returns
	failed atomic.Bool   // the last time
	at     atomic.Int64  // when it last succeeded, Unix time in nanoseconds
}

// newReloader goes on from first, the settings as they were read to find out whether there are any. They are read once
// more, now that their files are known.
func newReloader(first settings, log *slog.Logger, told func(state string)) (*reloader, error) {
	r := &reloader{
		reader: reader{again: first.again, files: first.files}, log: log, told: told, asks: make(chan func()),
		ended: make(chan struct{}),
	}
	s, err := r.read()
	if err != nil {
		return nil, err
	}
	r.keep(s)
	return r, nil
}

// settings are those that apply now.
func (r *reloader) settings() *settings { return r.now.Load() }

func (r *reloader) keep(s settings) {
	r.now.Store(&s)
	r.failed.Store(false)
	r.at.Store(time.Now().UnixNano())
}

// run reloads when a signal comes, when a file of the configuration has changed, and when somebody asks, until ctx ends.
func (r *reloader) run(ctx context.Context, hangups <-chan os.Signal) {
	defer close(r.ended)
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			_ = r.reload("SIGHUP")
		case do := <-r.asks:
			do()
		case <-ticker.C:
			if config.FingerprintOf(r.files) != r.seen {
				config.Settled(ctx, r.files, settlePause)
				_ = r.reload("a file has changed")
			}
		}
	}
}

// ask has the configuration read again and returns what is wrong with it. Any goroutine.
func (r *reloader) ask(ctx context.Context) error {
	return r.do(ctx, func() error { return r.reload("the console") })
}

// do runs what between two reloads. Any goroutine.
func (r *reloader) do(ctx context.Context, what func() error) error {
	answer := make(chan error, 1)
	select {
	case r.asks <- func() { answer <- what() }:
	case <-r.ended:
		return errNoReload
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errNoReload = errors.New("this process is ending: it reads no configuration any more")

// reload puts the configuration as it is now in the place of the old one, or leaves that and says in the log why.
func (r *reloader) reload(why string) error {
	r.log.Info("reloading the configuration", "reason", why)
	r.told(reloadingState())
	defer r.told(readyState)
	s, err := r.read()
	if err == nil {
		err = r.take(s)
	}
	if err != nil {
		r.complain(err)
		return err
	}
	r.keep(s)
	return nil
}

// take applies s. What is wrong with it is blamed on its place in the file.
func (r *reloader) take(s settings) error {
	if s.http != r.settings().http {
		return s.blame("http", "cannot be changed while the process runs: restart it")
	}
	err := r.apply(s.proxy)
	var key *proxy.KeyError
	if errors.As(err, &key) {
		return s.blame(key.Key, key.Err.Error())
	}
	return err
}

// complain says what is wrong, in a line for each mistake.
func (r *reloader) complain(err error) {
	r.failed.Store(true)
	const message = "configuration not reloaded, the old one stays"
	var mistakes config.Errors
	if !errors.As(err, &mistakes) {
		r.log.Error(message, "error", err)
		return
	}
	for _, m := range mistakes {
		r.log.Error(message, "error", m.Error())
	}
}

// files lists what f names beyond itself: certificates and lists, of clients and of servers. Paths in f are relative to
// folder, those in a DSN to where the process runs.
func (f *file) files(folder string) []string {
	var all []string
	for _, path := range []string{
		f.TLS.Cert, f.TLS.Key, f.TLS.ClientCA, f.Auth.File, f.Auth.HbaFile, f.Auth.IdentFile,
	} {
		if path != "" {
			all = append(all, within(folder, path))
		}
	}
	for _, d := range f.Databases {
		all = append(all, dial.Files(d.Upstream)...)
	}
	slices.Sort(all) // databases come in any order
	return slices.Compact(all)
}
