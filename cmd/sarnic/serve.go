package main

import (
	"cmp"
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/login"
)

const serveExamples = `  sarnic serve --upstream postgres://app:secret@db:5432/app
  sarnic serve --upstream postgres://app@/app?host=/run/postgresql --listen 127.0.0.1:6432 --pool-size 40
  sarnic serve --config sarnic.yaml --log-level debug
  SARNIC_UPSTREAM=postgres://app:secret@db:5432/app sarnic serve --http 127.0.0.1:6433
`

const serveAbout = `Starts the proxy, for one database from its DSN or for several from a file.

With --upstream, clients log in with the user and the password of that DSN, and where that user may read pg_authid as any
other role of the server with its own password; without a password in the DSN they are trusted.
Every flag can be given as an environment variable instead: SARNIC_POOL_SIZE for --pool-size.
SIGHUP reads files again, and so does a change in one of them. With --restart-socket a second process takes the place of
the one that runs, and no client notices. SIGTERM and SIGINT let running transactions finish; a second one ends now.`

// serveFlags is the command line of serve. Without --config it is a file of one database.
type serveFlags struct {
	config   string
	upstream string
	replicas words
	listen   words
	file     file // the rest, under the keys of a file
	log      logOptions
	format   formatFlag
}

func (o *serveFlags) register(f *flags) {
	d := &o.file
	f.StringVar(&o.config, "config", "", "read everything from this `FILE` (YAML)")
	f.StringVar(&o.upstream, "upstream", "", "`DSN` of the server, with the user and password clients log in with")
	f.Var(&o.replicas, "replica", "`DSN` of a replica, may be repeated; not used yet")
	f.Var(&o.listen, "listen", "`HOST:PORT` for clients, may be repeated (default "+d.Listen[0]+")")
	f.StringVar(&d.HTTP, "http", "", "`HOST:PORT` of /livez, /readyz and /metrics (default none)")
	f.IntVar(&d.Pool.Size, "pool-size", d.Pool.Size, "server connections per user, `N`")
	f.StringVar((*string)(&d.Pool.Mode), "pool-mode", string(d.Pool.Mode), "transaction, session or statement `MODE`")
	f.StringVar((*string)(&d.Auth.Method), "auth", "", "`METHOD`: trust, password, md5 or scram-sha-256 (default by the DSN)")
	f.StringVar(&d.Auth.Query, "auth-query", builtinQuery, "how other roles of the server are found, `SQL` or pg_authid; empty: they cannot log in")
	f.StringVar((*string)(&d.TLS.Mode), "tls-mode", string(d.TLS.Mode), "`MODE`: disable, allow, prefer, require, verify-ca or verify-full")
	f.StringVar(&d.TLS.Cert, "tls-cert", "", "certificate `FILE` shown to clients (default none: no TLS)")
	f.StringVar(&d.TLS.Key, "tls-key", "", "key `FILE` of the certificate")
	f.StringVar(&d.TLS.ClientCA, "tls-client-ca", "", "`FILE` of authorities that sign the clients' certificates")
	f.IntVar(&d.Limits.MaxClients, "max-clients", d.Limits.MaxClients, "clients logged in at once, `N`")
	f.IntVar(&d.Limits.Loops, "loops", d.Limits.Loops, "event loops at most, `N` (0: one per core, at most 4)")
	f.DurationVar(&d.DrainTimeout, "drain-timeout", d.DrainTimeout, "`TIME` that transactions have to finish at the end (0: for ever)")
	f.StringVar(&d.Restart.Socket, "restart-socket", "", "`PATH` where another sarnic takes over without a refused connection")
	f.DurationVar(&d.Restart.DrainTimeout, "restart-drain-timeout", d.Restart.DrainTimeout,
		"`TIME` that clients under TLS have to leave when another sarnic has taken over (0: for ever)")
	f.TextVar(&o.log.level, "log-level", slog.LevelInfo, "debug, info, warn or error `LEVEL`")
	f.Var(&o.format, "log-format", "text, json or auto `FORMAT`: text on a terminal")
}

func (p program) serve(ctx context.Context, args []string) error {
	hangups := make(chan os.Signal, 1) // from before the first look at the file: what changes from then on is not missed
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	s, log, err := p.readServeFlags(args)
	if err != nil {
		return err
	}
	return p.runService(ctx, s, log, hangups)
}

// readServeFlags turns the command line and the environment into settings.
func (p program) readServeFlags(args []string) (settings, logOptions, error) {
	o := serveFlags{file: defaults(), format: "auto"}
	f := newFlags("serve", "[flags]", serveAbout, serveExamples)
	o.register(f)
	if err := f.parse(args, 0, p.stdout); err != nil {
		return settings{}, o.log, err
	}
	always := []string{"log-level", "log-format"}
	var direct []string // the flags that say what a file would say
	f.VisitAll(func(one *flag.Flag) {
		if one.Name != "config" && !slices.Contains(always, one.Name) {
			direct = append(direct, one.Name)
		}
	})
	if !slices.ContainsFunc(direct, f.given) {
		always = append(always, "config")
	}
	if err := f.fromEnvironment(p.env, always...); err != nil {
		return settings{}, o.log, err
	}
	o.log.format = string(o.format)
	if o.config != "" {
		if i := slices.IndexFunc(direct, f.given); i >= 0 {
			return settings{}, o.log, &usageError{"serve", "--config and --" + direct[i] + " exclude each other: the file says everything"}
		}
		s, err := readFile(o.config, p.env)
		return s, o.log, err
	}
	if err := f.fromEnvironment(p.env, direct...); err != nil {
		return settings{}, o.log, err
	}
	s, err := o.compose()
	return s, o.log, err
}

// compose makes a file of the flags and settings of that. What a flag says wrong is a usage error; all of them are reported.
func (o *serveFlags) compose() (settings, error) {
	if o.upstream == "" {
		return settings{}, &usageError{"serve", "needs --upstream or --config"}
	}
	server, err := dial.Parse(o.upstream)
	if err != nil {
		return settings{}, &usageError{"serve", "--upstream: " + err.Error()}
	}
	o.file.serveOne(server, o.upstream, o.replicas)
	if len(o.listen) > 0 {
		o.file.Listen = o.listen
	}
	var wrong flagMistakes
	s := o.file.compose("", wrong.add)
	s.files, s.again = o.file.files(""), o.compose
	s.blame = func(key, text string) error {
		wrong.add(key, text)
		return wrong.err()
	}
	return s, wrong.err()
}

// serveOne makes f the file of one database: the one of the DSN, for the user of the DSN.
func (f *file) serveOne(server dial.Config, dsn string, replicas []string) {
	name := cmp.Or(server.Database(), server.User()) // as libpq does
	f.Databases = map[string]database{name: {Upstream: dsn, Replicas: replicas}}
	f.Users = map[string]user{server.User(): {Password: server.Password()}}
	f.Admin.Users = []string{server.User()}
	if f.Auth.Method == "" {
		f.Auth.Method = login.SCRAM
		if server.Password() == "" {
			f.Auth.Method = login.Trust
		}
	}
	if f.Auth.Method == login.Trust {
		f.Auth.Query = "" // nobody is to be let in without a password because the server knows the name
	}
}

// flagMistakes collects what is wrong with the file that was made of flags, under the flags' own names.
type flagMistakes []string

func (m *flagMistakes) add(key, text string) { *m = append(*m, "--"+flagOf(key)+": "+text) }

func (m flagMistakes) err() error {
	if len(m) == 0 {
		return nil
	}
	return &usageError{"serve", strings.Join(m, "\n")}
}

// flagOf is the flag that a key of the file was made of.
func flagOf(key string) string {
	block, name, _ := strings.Cut(key, ".")
	switch {
	case strings.HasPrefix(key, "listen"):
		return "listen"
	case block == "databases" && strings.Contains(name, "replicas["):
		return "replica"
	case block == "databases", block == "users":
		return "upstream"
	case key == "auth.method":
		return "auth"
	case key == "auth.query":
		return "auth-query"
	case block == "pool", block == "tls", block == "restart":
		return block + "-" + strings.ReplaceAll(name, "_", "-")
	case block == "limits":
		return strings.ReplaceAll(name, "_", "-")
	default:
		return strings.ReplaceAll(block, "_", "-")
	}
}
