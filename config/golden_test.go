package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write the errors into the bad files, to be read as a diff")

// schema has every kind of field that a file can set, and some that it cannot.
type schema struct {
	Name   string
	On     bool
	Count  int
	Small  uint8
	Port   string
	Ratio  float64
	Size   Size
	Wait   time.Duration
	Off    time.Duration `key:"off"`
	Listen []string
	Pool   limits
	Users  map[string]user
	Later  Section
	Block  *limits
	Hidden string `key:"-"`
	Hook   func()
}

type limits struct {
	Mode        string
	MinSize     int
	IdleTimeout time.Duration
}

type user struct{ Secret string }

var testEnv = map[string]string{
	"NAME": "sarnic", "COUNT": "7", "EMPTY": "", "SECRET": "hunter2", "TRICKY": "${NAME}",
}

func lookup(name string) (string, bool) {
	value, found := testEnv[name]
	return value, found
}

func defaults() schema {
	return schema{Name: "default", Count: 1, Wait: time.Second, Pool: limits{Mode: "fast", MinSize: 2}}
}

// read is what a program does with a file: decode over defaults, then let the owners of the settings judge.
func read(path string) (schema, error) {
	doc, err := Load(path, lookup)
	if err != nil {
		return schema{}, err
	}
	file := defaults()
	doc.Decode(&file)
	later := file.Pool
	file.Later.Decode(&later)
	if doc.Has("pool") && !doc.Has("pool.mode") && file.Pool.MinSize < 0 {
		doc.Add("pool.mode", "is required")
	}
	for key, n := range map[string]int{"pool": file.Pool.MinSize, "later": later.MinSize} {
		if n < 0 {
			doc.Add(Key(key, "min_size"), fmt.Sprintf("must be at least 0, got %d", n))
		}
	}
	for i, address := range file.Listen {
		if address == "" {
			doc.Add(Index("listen", i), "must not be empty")
		}
	}
	return file, doc.Err()
}

func TestGoodFiles(t *testing.T) {
	paths, _ := filepath.Glob("testdata/*.good.yaml")
	if len(paths) == 0 {
		t.Fatal("no files")
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			if _, err := read(path); err != nil {
				t.Errorf("want no error, got\n%v", err)
			}
		})
	}
}

// TestBadFiles compares the errors of every bad file with its "# want:" lines.
func TestBadFiles(t *testing.T) {
	paths, _ := filepath.Glob("testdata/*.bad.yaml")
	if len(paths) == 0 {
		t.Fatal("no files")
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			body, want := split(string(text))
			_, err = read(path)
			var errs Errors
			if !errors.As(err, &errs) {
				t.Fatalf("want Errors, got %v", err)
			}
			got := ""
			for line := range strings.Lines(strings.ReplaceAll(err.Error(), path, filepath.Base(path)) + "\n") {
				got += "# want: " + line
			}
			if *rewrite {
				if err := os.WriteFile(path, []byte(body+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			for _, value := range []string{"hunter2", "s3cret"} {
				if strings.Contains(err.Error(), value) {
					t.Errorf("the errors show a secret: %v", err)
				}
			}
		})
	}
}

// split returns a file without its "# want:" lines, which stand at its end, and these lines.
func split(text string) (body, want string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# want: ") {
			want += line
		} else {
			body += line
		}
	}
	return body, want
}
