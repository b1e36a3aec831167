package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func mustRead(t *testing.T, path string) schema {
	t.Helper()
	file, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %#v, want %#v", what, got, want)
	}
}

func TestEveryKindOfValue(t *testing.T) {
	file := mustRead(t, "testdata/everything.good.yaml")
	equal(t, "name", file.Name, "first")
	equal(t, "on", file.On, true)
	equal(t, "count", file.Count, 42)
	equal(t, "port", file.Port, "0xf-not-a-number-but-a-string")
	equal(t, "ratio", file.Ratio, 0.7)
	equal(t, "size", file.Size, Size(64<<20))
	equal(t, "wait", file.Wait, 90*time.Second)
	equal(t, "off", file.Off, time.Duration(0))
	equal(t, "listen", file.Listen, []string{"127.0.0.1:6432", "[::1]:6432"})
	equal(t, "pool", file.Pool, limits{Mode: "fast", MinSize: 3, IdleTimeout: 10 * time.Second})
	equal(t, "users", file.Users, map[string]user{
		"app": {"SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"}, "my.user": {"12345"}, "number": {"12345"}, "empty": {""},
	})
}

func TestAbsentKeysKeepTheirDefaults(t *testing.T) {
	for _, path := range []string{"testdata/empty.good.yaml", "testdata/comment_only.good.yaml"} {
		equal(t, path, mustRead(t, path), defaults())
	}
}

func TestSectionStartsFromItsOwnersDefaults(t *testing.T) {
	file := mustRead(t, "testdata/everything.good.yaml")
	later := file.Pool
	file.Later.Decode(&later)
	equal(t, "later", later, limits{Mode: "fast", MinSize: 9, IdleTimeout: 10 * time.Second})
	equal(t, "pool", file.Pool.MinSize, 3)
}

func TestExpansion(t *testing.T) {
	file := mustRead(t, "testdata/expansion.good.yaml")
	equal(t, "name", file.Name, "sarnic")
	equal(t, "count", file.Count, 7)
	equal(t, "pool", file.Pool, limits{Mode: "fast", MinSize: 7, IdleTimeout: 7 * time.Second})
	equal(t, "users", file.Users, map[string]user{
		"plain":          {"asarnicb7"},
		"default":        {"x:-y"},
		"empty_is_unset": {"fallback"},
		"empty_is_set":   {""},
		"escaped":        {"${NAME} $ $$ $x"},
		"not_twice":      {"${NAME}"},
		"file":           {"s3cret"},
	})
}

func TestAliasRepeatsItsAnchor(t *testing.T) {
	file := mustRead(t, "testdata/anchors.good.yaml")
	var later limits
	file.Later.Decode(&later)
	equal(t, "later", later, limits{MinSize: 4, IdleTimeout: 3 * time.Second})
}

func TestWrongValueKeepsTheDefault(t *testing.T) {
	doc, err := Parse("x.yaml", []byte("count: many\nwait: soon\non: maybe\nsize: big\nratio: NaN"), lookup)
	if err != nil {
		t.Fatal(err)
	}
	want := schema{Count: 3, Wait: time.Minute, On: true, Size: 5, Ratio: 2}
	file := want
	doc.Decode(&file)
	equal(t, "file", file, want)
	equal(t, "errors", len(doc.errs), 5)
}

func TestBytesThatYAMLForbids(t *testing.T) {
	for text, want := range map[string]string{
		"count: 1\nname: \"\xff\"\n": "x.yaml:2:8: not UTF-8 text",
		"name: \"çı\x00\"":           "x.yaml:1:10: control character 0x00",
		"name: \"\x7f\"":             "x.yaml:1:8: control character 0x7f",
	} {
		_, err := Parse("x.yaml", []byte(text), lookup)
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	for path, want := range map[string]string{
		"testdata/none.yaml": "no such file",
		"testdata":           "not a regular file",
		"/dev/zero":          "not a regular file",
	} {
		if _, err := Load(path, lookup); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want … %s …", path, err, want)
		}
	}
	if _, err := Parse("x.yaml", make([]byte, maxFile+1), lookup); err == nil {
		t.Error("want a file of more than 1 MiB refused")
	}
}

func TestHas(t *testing.T) {
	doc, err := Parse("x.yaml", []byte("a: {b: [1, {c: 2}]}\n'd.e': 3\n'': 4"), lookup)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{
		"a": true, "a.b": true, "a.b[1].c": true, `["d.e"]`: true, `[""]`: true,
		"b": false, "a.b[2]": false, "a.bc": false, "d.e": false, "a.b[1].c.d": false,
	} {
		if got := doc.Has(key); got != want {
			t.Errorf("%s: got %t, want %t", key, got, want)
		}
	}
}

func TestKey(t *testing.T) {
	equal(t, "words", Key("databases", "app", "pool"), "databases.app.pool")
	equal(t, "odd name", Key("databases", "my.db", "pool"), `databases["my.db"].pool`)
	equal(t, "star", Key("databases", "*", "upstream"), "databases.*.upstream")
	equal(t, "index", Index(Key("databases", "app", "replicas"), 2), "databases.app.replicas[2]")
}

func TestKeysOfASchema(t *testing.T) {
	want := []string{
		"name", "on", "count", "small", "port", "ratio", "size", "wait", "off", "listen",
		"pool.mode", "pool.min_size", "pool.idle_timeout", "users.*.secret", "later",
		"block.mode", "block.min_size", "block.idle_timeout",
	}
	equal(t, "keys", Keys(schema{}), want)
}

func TestFieldNames(t *testing.T) {
	for name, want := range map[string]string{
		"MinSize": "min_size", "TLS": "tls", "ClientCA": "client_ca", "TLSMode": "tls_mode", "HTTP": "http", "X": "x",
	} {
		equal(t, name, snake(name), want)
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "1B": 1, "512kB": 512 << 10, "512KB": 512 << 10, "64MB": 64 << 20, "3GB": 3 << 30, "2TB": 2 << 40,
	} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: got %d, %v, want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "1", "MB", "-1MB", "1mb", "1 MB", "1.5GB", "1MBB", "0kkk", "9999999TB", "99999999999999999999B"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: want an error, got %d", text, s)
		}
	}
	for size, want := range map[Size]string{0: "0", 1: "1B", 1536: "1536B", 2048: "2kB", 64 << 20: "64MB", 1 << 40: "1TB"} {
		equal(t, want, size.String(), want)
	}
}
