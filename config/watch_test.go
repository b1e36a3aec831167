package config

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Every way in which a file comes to say something else shows, and nothing else does.
func TestFingerprint(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.pem")
	paths := []string{path, other}
	before := FingerprintOf(paths)
	step := func(what string, changes bool, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		now := FingerprintOf(paths)
		if (now != before) != changes {
			t.Errorf("%s: changed is %v", what, now != before)
		}
		before = now
	}
	text := func(path, text string) func() error {
		return func() error { return os.WriteFile(path, []byte(text), 0o600) }
	}
	step("nothing", false, func() error { return nil })
	step("it appears", true, text(path, "one"))
	step("it is written again", false, text(path, "one"))
	step("it is touched", false, func() error { return os.Chtimes(path, time.Now(), time.Now().Add(time.Hour)) })
	step("it says something else of the same length", true, text(path, "two"))
	step("another appears, empty", true, text(other, ""))
	step("it is replaced", true, func() error {
		if err := os.WriteFile(path+"~", []byte("six"), 0o600); err != nil {
			return err
		}
		return os.Rename(path+"~", path)
	})
	step("what one says moves to the other", true, func() error {
		if err := os.WriteFile(other, []byte("six"), 0o600); err != nil {
			return err
		}
		return os.WriteFile(path, nil, 0o600)
	})
	step("it is a directory", true, func() error {
		if err := os.Remove(other); err != nil {
			return err
		}
		return os.Mkdir(other, 0o700)
	})
	step("it vanishes", true, func() error { return os.Remove(path) })
	step("it is large", true, text(path, strings.Repeat("x", maxHashed+1)))
	step("it is large and changes in its size", true, text(path, strings.Repeat("x", maxHashed+2)))
}

// Kubernetes mounts a ConfigMap as links through ..data, and replaces all its files by moving that link.
func TestFingerprintOfAConfigMap(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "sarnic.yaml"), text)
		if err := os.Symlink(name, filepath.Join(dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", "pool: {size: 1}")
	path := filepath.Join(dir, "sarnic.yaml")
	if err := os.Symlink(filepath.Join("..data", "sarnic.yaml"), path); err != nil {
		t.Fatal(err)
	}
	before := FingerprintOf([]string{path})
	version("..2", "pool: {size: 1}")
	if FingerprintOf([]string{path}) != before {
		t.Error("the same contents look different")
	}
	version("..3", "pool: {size: 2}")
	if FingerprintOf([]string{path}) == before {
		t.Error("the swap of ..data does not show")
	}
}

func TestSettled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	done := make(chan struct{})
	write(t, path, "")
	go func() {
		defer close(done)
		Settled(t.Context(), []string{path}, 20*time.Millisecond)
	}()
	for i := range 30 { // written in many steps
		select {
		case <-done:
			if i < 2 {
				t.Fatal("it did not wait")
			}
			return // a slow machine may have paused the writer
		case <-time.After(5 * time.Millisecond):
			write(t, path, strings.Repeat("x", i))
		}
	}
	<-done
	ctx, stop := context.WithCancel(t.Context())
	stop()
	Settled(ctx, []string{path}, time.Hour)
}

func TestFilesOfADocument(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), "x")
	doc, err := Parse(filepath.Join(dir, "sarnic.yaml"), []byte("a: ${file:secret}\nb: ['${file:/not/there}']\nc: ${HOME}\n"),
		func(string) (string, bool) { return "y", true })
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{filepath.Join(dir, "secret"), "/not/there"}; !slices.Equal(doc.Files(), want) {
		t.Errorf("%q, want %q", doc.Files(), want)
	}
}
