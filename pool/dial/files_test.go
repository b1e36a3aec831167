package dial

import (
	"slices"
	"testing"
)

func TestFiles(t *testing.T) {
	for dsn, want := range map[string][]string{
		"":                          nil,
		"postgres://app@db/shop":    nil,
		"host=db user=app":          nil,
		"postgres://%zz?sslcert=/a": nil,
		"postgres://app@db/shop?sslmode=verify-full&sslrootcert=%2Fca%20one.crt&sslcert=/c.crt&sslkey=/c.key": {"/ca one.crt", "/c.crt", "/c.key"},
		"postgresql://db?sslrootcert=system&passfile=/pass":                                                   {"/pass"},
		`host=db  sslrootcert = '/ca o\'ne.crt' sslkey=/a\ key user=app password='sslcert=/no'`:               {"/ca o'ne.crt", "/a key"},
		"sslcert=/one sslcert=/two": {"/two"},
		"sslcert":                   nil,
		"sslcert='/open":            {"/open"},
	} {
		if got := Files(dsn); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", dsn, got, want)
		}
	}
}
