package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sarnicdb/sarnic/proxy"
)

func (p program) check(_ context.Context, args []string) error {
	f := newFlags("check", "FILE", `Checks a configuration file without starting anything. Every mistake is a line file:line:column;
a good file is summed up as the proxy would understand it.`,
		"  sarnic check sarnic.yaml\n  PGPASSWORD=secret sarnic check sarnic.yaml\n")
	if err := f.parse(args, 1, p.stdout); err != nil {
		return err
	}
	if f.NArg() == 0 {
		return &usageError{"check", "needs a file"}
	}
	path := f.Arg(0)
	s, err := readFile(path, p.env)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s: ok\n\n", path)
	return s.print(p.stdout)
}

// print sums the settings up in two tables. Nothing secret is in them.
func (s settings) print(w io.Writer) error {
	c := &s.proxy
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	listen := c.Listen
	if c.UnixDir != "" {
		listen = append(listen[:len(listen):len(listen)], fmt.Sprintf("%s (mode %04o)", c.UnixDir, c.UnixMode))
	}
	fmt.Fprintf(t, "listen\t%s\n", strings.Join(listen, ", "))
	fmt.Fprintf(t, "http\t%s\n", cmp.Or(s.http, "off"))
	fmt.Fprintf(t, "tls\t%s\n", s.tls())
	fmt.Fprintf(t, "auth\t%s\n", s.auth())
	fmt.Fprintf(t, "clients\tat most %d, %d logging in\n", c.MaxClients, c.MaxLogins)
	fmt.Fprintf(t, "drain\t%s\n", cmp.Or(duration(c.DrainTime), "for ever"))
	fmt.Fprint(t, "\nDATABASE\tSERVER\tMODE\tSIZE\tMAX\tWAIT\n")
	for _, d := range c.Databases {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n",
			d.Name, serverName(d), d.Pool.Mode, d.Pool.Size, limit(d.MaxConnections), cmp.Or(duration(d.Pool.WaitTimeout), "for ever"))
	}
	for _, key := range s.replicas {
		fmt.Fprintf(t, "\n%s is not used yet", key)
	}
	if len(s.replicas) > 0 {
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// serverName is what the DSN says without its secrets: hosts and the database there.
func serverName(d proxy.Database) string {
	return strings.Join(d.Server.Hosts(), ",") + "/" + d.Server.Database()
}

// auth says how clients prove who they are, and who they may be.
func (s settings) auth() string {
	text := fmt.Sprintf("%s, %d users", s.proxy.Auth, len(s.proxy.Users))
	if n := len(s.proxy.Rules); n > 0 {
		text = fmt.Sprintf("%d rules, %d users", n, len(s.proxy.Users))
	}
	if s.proxy.Query.SQL != "" {
		text += " and the roles that the query finds"
	}
	return text
}

func (s settings) tls() string {
	if s.proxy.TLS == nil {
		return "off"
	}
	return string(s.proxy.TLSMode)
}

// duration is d as a file has it: 1m, not 1m0s. It is empty for 0, which means that there is no limit.
func duration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func limit(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}
