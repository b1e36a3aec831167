package dial

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// parsed parses a DSN that is right.
func parsed(t *testing.T, dsn string) Config {
	t.Helper()
	c, err := Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEqual(t *testing.T) {
	const base = "postgres://app:secret@db:5432/shop?sslmode=prefer&connect_timeout=3&options=-c%20work_mem%3D1MB"
	if !parsed(t, base).Equal(parsed(t, base)) {
		t.Error("the same DSN twice differs")
	}
	if !(Config{}).Equal(Config{}) || (Config{}).Equal(parsed(t, base)) || parsed(t, base).Equal(Config{}) {
		t.Error("no server is no server")
	}
	for _, other := range []string{
		"postgres://app:secret@db2:5432/shop?sslmode=prefer&connect_timeout=3&options=-c%20work_mem%3D1MB",
		"postgres://app:secret@db:5433/shop?sslmode=prefer&connect_timeout=3&options=-c%20work_mem%3D1MB",
		"postgres://app2:secret@db:5432/shop?sslmode=prefer&connect_timeout=3&options=-c%20work_mem%3D1MB",
		"postgres://app:other@db:5432/shop?sslmode=prefer&connect_timeout=3&options=-c%20work_mem%3D1MB",
		"postgres://app:secret@db:5432/store?sslmode=prefer&connect_timeout=3&options=-c%20work_mem%3D1MB",
		"postgres://app:secret@db:5432/shop?sslmode=require&connect_timeout=3&options=-c%20work_mem%3D1MB",
		"postgres://app:secret@db:5432/shop?sslmode=prefer&connect_timeout=4&options=-c%20work_mem%3D1MB",
		"postgres://app:secret@db:5432/shop?sslmode=prefer&connect_timeout=3&options=-c%20work_mem%3D2MB",
		"postgres://app:secret@db:5432/shop?sslmode=prefer&connect_timeout=3&options=-c%20work_mem%3D1MB&target_session_attrs=read-write",
		"postgres://app:secret@db:5432,db2:5432/shop?sslmode=prefer&connect_timeout=3&options=-c%20work_mem%3D1MB",
	} {
		if parsed(t, base).Equal(parsed(t, other)) {
			t.Errorf("%s\nis taken for %s", other, base)
		}
	}
	c := parsed(t, base)
	if c.Equal(c.WithUser("other", "", "secret")) || c.Equal(c.WithUser("app", "other", "secret")) || c.Equal(c.WithUser("app", "", "x")) {
		t.Error("another user, database or password is taken for the same")
	}
	one, two := new(Proof), new(Proof)
	if p := c.WithProof("app", "", one); !p.Equal(c.WithProof("app", "", one)) || p.Equal(c.WithProof("app", "", two)) || p.Equal(c) {
		t.Error("proofs are not told apart")
	}
	if !c.Equal(c.WithUser("app", "", "secret")) {
		t.Error("the same user differs")
	}
}

// The same DSN leads to something else when a file it names has other contents.
func TestEqualLooksIntoFiles(t *testing.T) {
	one, two := pgtest.New(t, pgtest.Options{TLS: true}), pgtest.New(t, pgtest.Options{TLS: true})
	path := filepath.Join(t.TempDir(), "ca.crt")
	use := func(pg *pgtest.Postgres) Config {
		pem, err := os.ReadFile(pg.CAFile())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, pem, 0o600); err != nil {
			t.Fatal(err)
		}
		return parsed(t, "postgres://app@db/shop?sslmode=verify-full&sslrootcert="+path)
	}
	first := use(one)
	if !first.Equal(use(one)) {
		t.Error("the same authority read twice differs")
	}
	if first.Equal(use(two)) {
		t.Error("another authority makes no difference")
	}
}

// Whoever adds a field decides whether Equal is to look at it.
func TestEqualKnowsEveryField(t *testing.T) {
	if n := reflect.TypeFor[Config]().NumField(); n != 5 {
		t.Errorf("Config has %d fields: look at Equal", n)
	}
}
