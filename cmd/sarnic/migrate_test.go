package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sarnicdb/sarnic/config"
)

// etc is where the files of the tests say that they are.
const etc = "/etc/pgbouncer"

// install copies a folder of testdata/migrate to one of its own, which stands for etc, with a certificate.
func install(t *testing.T, name string) (folder string) {
	t.Helper()
	folder = fmt.Sprintf("/tmp/pgb%06d", rand.IntN(1_000_000)) // as long as etc, for tables are as wide as what is in them
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	writeCertificate(t, folder)
	for _, path := range files(t, filepath.Join("testdata", "migrate", name, "*")) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.ReplaceAll(text, []byte(etc), []byte(folder))
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(path)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// TestMigrate compares what migrate makes of real-life files with what stands beside them, and reads it as serve would.
func TestMigrate(t *testing.T) {
	for _, path := range files(t, "testdata/migrate/*/pgbouncer.ini") {
		name := filepath.Base(filepath.Dir(path))
		t.Run(name, func(t *testing.T) {
			folder := install(t, name)
			code, stdout, stderr := invoke(t, nil, "migrate", filepath.Join(folder, "pgbouncer.ini"))
			if code != exitOK {
				t.Fatalf("exit code %d\n%s", code, stderr)
			}
			if strings.Contains(stdout+stderr, secret) {
				t.Errorf("a secret is shown:\n%s%s", stdout, stderr)
			}
			made := strings.NewReplacer(folder, etc)
			compare(t, filepath.Join("testdata", "migrate", name, "sarnic.yaml"), made.Replace(stdout))
			compare(t, filepath.Join("testdata", "migrate", name, "remarks.txt"), made.Replace(stderr))

			doc, err := config.Parse(filepath.Join(folder, "sarnic.yaml"), []byte(stdout), func(string) (string, bool) { return secret, true })
			if err != nil {
				t.Fatal(err)
			}
			f := defaults()
			doc.Decode(&f)
			s := f.compose(folder, doc.Add)
			if err := s.err(doc.Err()); err != nil && !strings.Contains(stderr, "sarnic check would say now") {
				t.Errorf("sarnic cannot read it, and does not say so: %v\n%s", err, stdout)
			}
		})
	}
}

// migrated is sarnic.yaml and the remarks for the text of a pgbouncer.ini.
func migrated(t *testing.T, text string) (yaml, remarks string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pgbouncer.ini")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, yaml, remarks := invoke(t, nil, "migrate", path)
	if code != exitOK {
		t.Fatalf("exit code %d\n%s", code, remarks)
	}
	return yaml, remarks
}

// listedOptions are PgBouncer's, and their defaults.
func listedOptions(t *testing.T) (order []string, standard map[string]string) {
	t.Helper()
	text, err := os.ReadFile("testdata/migrate/options.txt")
	if err != nil {
		t.Fatal(err)
	}
	standard = make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, " ="); ok && line[0] != '#' {
			order = append(order, name)
			standard[name] = strings.TrimSpace(value)
		}
	}
	return order, standard
}

func TestEveryOptionOfPgBouncerIsKnown(t *testing.T) {
	order, standard := listedOptions(t)
	if len(order) < 100 {
		t.Fatalf("only %d options", len(order))
	}
	known := make(map[string]bool)
	keys := schemaKeys()
	for _, o := range options() {
		if known[o.name] {
			t.Errorf("%s is there twice", o.name)
		}
		known[o.name] = true
		want, listed := standard[o.name]
		if !listed {
			t.Errorf("PgBouncer has no option %s", o.name)
		}
		if o.standard != want && want != "" {
			t.Errorf("%s is %q by default, not %q", o.name, want, o.standard)
		}
		if reason := o.fate == missing || o.fate == needless || o.fate == elsewhere; reason == (o.why == "") || reason == (o.key != "") {
			t.Errorf("%s is %s: key %q, why %q", o.name, o.fate, o.key, o.why)
		}
		if o.key != "" && !slices.Contains(keys, o.key) {
			t.Errorf("%s becomes %s, which there is not", o.name, o.key)
		}
	}
	for _, name := range order {
		if !known[name] {
			t.Errorf("nothing is said of %s", name)
		}
	}
}

// TestEveryKeyIsThoughtOf: whoever adds a key to sarnic.yaml says here whether PgBouncer has an option for it. If it has, the
// option's row in migrate_table.go names the key, and its remark goes.
func TestEveryKeyIsThoughtOf(t *testing.T) {
	own := []string{ // PgBouncer has nothing of the kind
		"http", "drain_timeout", "restart.socket", "restart.drain_timeout", "auth.query_cache", "auth.rules", "auth.maps.*",
		"limits.max_logins", "limits.loops", "databases.*.replicas", "pool.pins",
		"users.*.password", "users.*.server_user", "users.*.server_password", // they are in the DSN, or in auth_file
		"auth.password", "auth.server_role", // follow from auth_user, and from user= of a database
	}
	written := make(map[string]bool)
	for _, o := range options() {
		written[o.key] = true
	}
	for _, key := range schemaKeys() {
		general := strings.TrimPrefix(key, "databases.*.")
		switch {
		case slices.Contains(own, key) || slices.Contains(own, general):
			if written[key] {
				t.Errorf("%s is written, and said not to be", key)
			}
		case !written[key] && !written[general]:
			t.Errorf("nothing of PgBouncer becomes %s: name it in options(), or here", key)
		}
	}
}

// TestDefaultsSaidAloud: a file that says nothing but PgBouncer's defaults is the same as one that says nothing.
func TestDefaultsSaidAloud(t *testing.T) {
	order, standard := listedOptions(t)
	text := "[databases]\nx = host=h\n[pgbouncer]\n"
	silent, _ := migrated(t, text)
	for _, name := range order {
		if standard[name] != "" || name != "verbose" {
			text += name + " = " + standard[name] + "\n"
		}
	}
	loud, remarks := migrated(t, text)
	for line := range strings.Lines(remarks) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[0], "pgbouncer.ini:") {
			t.Errorf("a default is remarked on: %s", line)
		}
	}
	values := func(yaml string) map[string]string {
		doc, err := config.Parse("sarnic.yaml", []byte(yaml), environment(nil))
		if err != nil {
			t.Fatal(err)
		}
		f := defaults()
		doc.Decode(&f)
		all := make(map[string]string)
		for _, s := range f.plain() {
			all[s.key] = s.value
		}
		return all
	}
	a, b := values(silent), values(loud)
	for key := range a {
		if a[key] != b[key] {
			t.Errorf("%s is %s without a word, %s when it is said", key, a[key], b[key])
		}
	}
	for key, want := range map[string]string{
		"pool.mode": "session", "limits.max_clients": "100", "pool.size": "20", "pool.wait_timeout": "2m", "tls.mode": "disable",
		"auth.method": "md5", "unix_socket.dir": "/tmp", "unix_socket.mode": "0777", "listen": "", "pool.lifetime": "1h", "pool.statements": "200",
	} {
		if a[key] != want {
			t.Errorf("%s is %q, want %q", key, a[key], want)
		}
	}
}

// TestMigrateMistakes compares the mistakes found in each bad file with the "; want:" lines at its end.
func TestMigrateMistakes(t *testing.T) {
	for _, path := range files(t, "testdata/migrate/*.bad.ini") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			body, _, _ := strings.Cut(string(text), "; want: ")
			code, stdout, stderr := invoke(t, nil, "migrate", path)
			if code != exitFailure || stdout != "" {
				t.Errorf("exit code %d, want %d; stdout %q", code, exitFailure, stdout)
			}
			if strings.Contains(stderr, secret) {
				t.Errorf("the errors show a secret:\n%s", stderr)
			}
			for line := range strings.Lines(stderr) {
				body += "; want: " + strings.ReplaceAll(line, filepath.Dir(path)+"/", "")
			}
			compare(t, path, body)
		})
	}
}

func TestMigrateWritesANewFile(t *testing.T) {
	folder := install(t, "web")
	path, out := filepath.Join(folder, "pgbouncer.ini"), filepath.Join(folder, "sarnic.yaml")
	if err := os.Remove(out); err != nil { // the golden one
		t.Fatal(err)
	}
	code, stdout, _ := invoke(t, nil, "migrate", path, "--out", out)
	if code != exitOK || stdout != "" {
		t.Errorf("exit code %d, stdout %q", code, stdout)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if _, stdout, _ = invoke(t, nil, "migrate", path); stdout != string(text) {
		t.Error("a file has other contents than standard output")
	}
	if code, _, stderr := invoke(t, nil, "migrate", "--out", out, path); code != exitFailure || !strings.Contains(stderr, "is there already") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	for _, args := range [][]string{{"migrate"}, {"migrate", path, "--else"}, {"migrate", path, path}} {
		if code, _, _ := invoke(t, nil, args...); code != exitUsage {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
	if code, _, stderr := invoke(t, nil, "migrate", folder+"/nothing.ini"); code != exitFailure || !strings.Contains(stderr, "nothing.ini") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	if code, stdout, _ := invoke(t, nil, "migrate", "--help"); code != exitOK || !strings.Contains(stdout, "sarnic migrate /etc/pgbouncer/pgbouncer.ini --out") {
		t.Errorf("exit code %d, %q", code, stdout)
	}
}

// FuzzMigrate: whatever the file, migrate does not panic, and what it writes has only keys that there are, with values of
// their types.
func FuzzMigrate(f *testing.F) {
	for _, pattern := range []string{"testdata/migrate/*/*.ini", "testdata/migrate/*.ini"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(folder, "pgbouncer.ini")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := migrate(path)
		if err != nil {
			return
		}
		var yaml, table bytes.Buffer
		if err := m.write(&yaml); err != nil {
			t.Fatal(err)
		}
		if err := m.report(&table); err != nil {
			t.Fatal(err)
		}
		doc, err := config.Parse("sarnic.yaml", yaml.Bytes(), func(string) (string, bool) { return "x", true })
		if err != nil {
			t.Fatalf("%v\n%s", err, &yaml)
		}
		file := defaults()
		doc.Decode(&file)
		for _, d := range file.Databases {
			p := file.Pool
			d.Pool.Decode(&p)
		}
		if err := doc.Err(); err != nil {
			t.Fatalf("%v\n%s", err, &yaml)
		}
		m.tryOut(&table, "", yaml.Bytes())
	})
}
