package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/sarnicdb/sarnic/config"
)

const migrateAbout = `Writes the sarnic.yaml that does what a pgbouncer.ini does, with everything it includes. What differs, has no equivalent or
must be given besides is a table on standard error, with the line it comes from and the reason.
Where PgBouncer's defaults are others than ours, its own are written, so that nothing changes by not being said. Passwords are
not copied: auth_file stays where it is, and a password of [databases] becomes an environment variable.`

const migrateExamples = `  sarnic migrate /etc/pgbouncer/pgbouncer.ini --out sarnic.yaml
  sarnic migrate pgbouncer.ini > sarnic.yaml
`

func (p program) migrate(_ context.Context, args []string) error {
	var out string
	f := newFlags("migrate", "PGBOUNCER.INI [--out FILE]", migrateAbout, migrateExamples)
	f.StringVar(&out, "out", "", "write to this new `FILE` (default standard output)")
	if err := f.parseMixed(args, 1, p.stdout); err != nil {
		return err
	}
	if f.NArg() == 0 {
		return &usageError{"migrate", "needs a pgbouncer.ini"}
	}
	m, err := migrate(f.Arg(0))
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := m.write(&text); err != nil {
		return err
	}
	if out == "" {
		if _, err := p.stdout.Write(text.Bytes()); err != nil {
			return err
		}
	} else if err := writeNew(out, text.Bytes()); err != nil {
		return err
	}
	if err := m.report(p.stderr); err != nil {
		return err
	}
	m.tryOut(p.stderr, out, text.Bytes())
	return nil
}

// parseMixed is parse where flags may also stand behind arguments, as most people write them.
func (f *flags) parseMixed(args []string, most int, stdout io.Writer) error {
	var plain []string
	for len(args) > 0 {
		if err := f.parse(args, len(args), stdout); err != nil {
			return err
		}
		if args = f.Args(); len(args) > 0 {
			plain, args = append(plain, args[0]), args[1:]
		}
	}
	return f.parse(append([]string{"--"}, plain...), most, stdout)
}

// writeNew writes a file that is not there yet: what an operator has made of an earlier one stays.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// migration is a pgbouncer.ini on its way to a sarnic.yaml.
type migration struct {
	ini       *ini
	set       map[string]iniLine // the options of [pgbouncer] that are given
	values    map[string]string  // of all options, as sarnic.yaml has them
	databases []pairs            // by their names, which are the keys of their lines
	users     []pairs
	login     userlist
	variables map[string]envSecret // of the environment, for passwords
	yaml      block
	remarks   []remark
}

// migrate reads the file at path and makes a migration of it, or says what is wrong with it.
func migrate(path string) (*migration, error) {
	r, err := readIni(path)
	if err != nil {
		return nil, err
	}
	m := &migration{ini: r, set: make(map[string]iniLine), values: make(map[string]string), variables: make(map[string]envSecret)}
	m.gather()
	m.convert()
	if len(r.mistakes) > 0 {
		return nil, r.mistakes
	}
	return m, nil
}

// gather sorts the lines by what they are about.
func (m *migration) gather() {
	var begun bool
	for _, l := range m.ini.lines {
		switch {
		case l.key == "" && l.section == "pgbouncer":
			if begun {
				m.forget(l)
			}
			begun = true
		case l.key == "":
		case l.section == "pgbouncer":
			m.set[l.key] = l
		case l.section == "databases":
			if l.key == "pgbouncer" {
				m.ini.wrong(l, "is the name of the console")
			}
			m.databases = replace(m.databases, m.ini.readPairs(l))
		case l.section == "users":
			m.users = replace(m.users, m.ini.readPairs(l))
		case l.section == "peers":
			m.remarkf(l, "[peers]", string(missing), "cancel requests are not passed on to other processes")
		}
	}
	if !begun {
		m.ini.wrong(iniLine{file: m.ini.path, line: 1, column: 1}, "there is no section [pgbouncer]")
	}
}

// forget does what PgBouncer does where [pgbouncer] begins again: the options that have a default get it back.
func (m *migration) forget(l iniLine) {
	before := len(m.set)
	maps.DeleteFunc(m.set, func(name string, _ iniLine) bool {
		return !slices.Contains([]string{
			"auth_dbname", "auth_file", "auth_ident_file", "auth_ldap_options", "auth_user", "client_tls13_ciphers", "conffile",
			"server_tls13_ciphers", "service_name", "user", "verbose",
		}, name)
	})
	if len(m.set) < before {
		m.remarkf(l, "[pgbouncer]", differs, "begins again: PgBouncer forgets what was set before, and so does sarnic.yaml")
	}
}

// replace puts p in the place of the one of that name: PgBouncer takes the last.
func replace(all []pairs, p pairs) []pairs {
	for i := range all {
		if all[i].line.key == p.line.key {
			all[i] = p
			return all
		}
	}
	return append(all, p)
}

// write writes sarnic.yaml.
func (m *migration) write(w io.Writer) error {
	path := m.ini.path
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	_, err := fmt.Fprintf(w, "# Written by sarnic migrate from %s.\n"+
		"# Behind a key stands the option of PgBouncer that it comes from, with = if that is PgBouncer's default.\n\n", harmless(path))
	if err != nil {
		return err
	}
	m.yaml.sort("", schemaKeys())
	return m.yaml.write(w, "")
}

// tryOut reads what was written as serve would, and tells what is wrong with it. The variables have some value.
func (m *migration) tryOut(w io.Writer, name string, text []byte) {
	if name == "" {
		name = "sarnic.yaml"
	}
	lookup := func(string) (string, bool) { return "x", true }
	doc, err := config.Parse(name, text, lookup)
	if err == nil {
		f := defaults()
		doc.Decode(&f)
		s := f.compose(filepath.Dir(name), doc.Add)
		err = s.err(doc.Err())
	}
	if err != nil {
		fmt.Fprintf(w, "\nsarnic check would say now:\n%v\n", err)
	}
}
