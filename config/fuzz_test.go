package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLoad: whatever the file, reading it neither panics nor hangs, every error has a place inside the file, and no error
// shows what a variable stands for.
func FuzzLoad(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*.yaml")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: &a {<<: *a, *a : *a}"))
	f.Add([]byte("? [a]\n: b\n? c"))
	f.Add([]byte("name: |\n  ${SECRET}\n  ${file:"))
	f.Add([]byte("%YAML 9.9\n---\n!<x> 'y'\n...\n---"))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := Parse("testdata/fuzz.yaml", data, lookup)
		if err == nil {
			file := defaults()
			doc.Decode(&file)
			later := file.Pool
			file.Later.Decode(&later)
			doc.Add(Key("pool", "min_size"), "judged")
			err = doc.Err()
		}
		checkErrors(t, err, data)
	})
}

func checkErrors(t *testing.T, err error, data []byte) {
	t.Helper()
	var errs Errors
	if !errors.As(err, &errs) {
		if len(data) > maxFile {
			return
		}
		t.Fatalf("want Errors, got %v", err)
	}
	lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") +
		strings.Count(string(data), "\u2028") + strings.Count(string(data), "\u2029") + strings.Count(string(data), "\u0085") + 1
	for _, e := range errs {
		if e.Line < 1 || e.Line > lines+1 || e.Column < 1 || e.Text == "" {
			t.Errorf("an error without a place in the file of %d lines: %v", lines, e)
		}
	}
	if strings.Contains(err.Error(), testEnv["SECRET"]) && !strings.Contains(string(data), testEnv["SECRET"]) {
		t.Errorf("the errors show a secret: %v", err)
	}
}
