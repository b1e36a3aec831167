package pgtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestParseVersion(t *testing.T) {
	for out, want := range map[string]string{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": "15.18",
		"postgres (PostgreSQL) 18.3\n":                           "18.3",
		"postgres (PostgreSQL) 19beta1\n":                        "19beta1",
	} {
		version, major, err := parseVersion(out)
		if err != nil || version != want || !strings.HasPrefix(want, "1"+string(rune('0'+major%10))) {
			t.Errorf("%q: %q, %d, %v", out, version, major, err)
		}
	}
	if _, _, err := parseVersion("bash: postgres: not found"); err == nil {
		t.Error("garbage has a version")
	}
}

func TestFindEveryVersion(t *testing.T) {
	for _, major := range Versions() {
		install, err := Find(t.Context(), major, progressTo(t))
		if err != nil {
			t.Fatal(err)
		}
		if install.Major != major || install.Source == "" {
			t.Errorf("asked for %d: %+v", major, install)
		}
		t.Logf("%d: %s, %s", major, install.Version, install.Source)
	}
	newest, err := Find(t.Context(), 0, nil)
	if err != nil || newest.Major < oldestMajor {
		t.Errorf("any version: %+v, %v", newest, err)
	}
}

func TestFindWhereTheEnvironmentSays(t *testing.T) {
	install, err := Find(t.Context(), 15, progressTo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SARNIC_PG15", install.Bin)
	named, err := Find(t.Context(), 15, nil)
	if err != nil || named.Bin != install.Bin || named.Source != "SARNIC_PG15" {
		t.Errorf("%+v, %v", named, err)
	}

	// What is named must be what it is named, and be there: looking elsewhere would hide the mistake.
	t.Setenv("SARNIC_PG18", install.Bin)
	for _, dir := range []string{install.Bin, t.TempDir(), "/does/not/exist"} {
		t.Setenv("SARNIC_PG18", dir)
		_, err := Find(t.Context(), 18, nil)
		var missing *MissingError
		if !errors.As(err, &missing) || missing.Major != 18 || !strings.Contains(err.Error(), "SARNIC_PG18="+dir) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestMissingVersionSaysWhatToDo(t *testing.T) {
	_, err := Find(t.Context(), 99, nil)
	var missing *MissingError
	if !errors.As(err, &missing) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"PostgreSQL 99 is missing", "install it", "SARNIC_PG99"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func TestTemplateIsMadeOnce(t *testing.T) {
	install, err := Find(t.Context(), 15, progressTo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", reachableTempDir(t))
	acct, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	runs := 0
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			dir, err := template(t.Context(), acct, install, func(string) { mu.Lock(); defer mu.Unlock(); runs++ })
			if err != nil || !exists(filepath.Join(dir, "PG_VERSION")) {
				t.Errorf("%s: %v", dir, err)
			}
		})
	}
	wg.Wait()
	if runs != 1 {
		t.Errorf("initdb ran %d times, want 1", runs)
	}
}

func TestLockWaitsAndGivesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	err := withLock(t.Context(), path, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
		defer cancel()
		return withLock(ctx, path, func() error { return errors.New("two at once") })
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	if err := withLock(t.Context(), path, func() error { return nil }); err != nil {
		t.Errorf("the lock was not given back: %v", err)
	}
}

func TestCacheMustBeOurs(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := privateDir(open); err == nil {
		t.Error("a directory everyone can write was accepted")
	}
	if err := privateDir(filepath.Join(t.TempDir(), "new", "deep")); err != nil {
		t.Error(err)
	}
}

func TestWorkdirWithoutLockIsSweptWhenOld(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	path, err := os.MkdirTemp("", workPattern)
	if err != nil {
		t.Fatal(err)
	}
	if sweep(); !exists(path) {
		t.Error("a directory that is being made was removed")
	}
	old := time.Now().Add(-2 * unlockedAge)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if sweep(); exists(path) {
		t.Error("an old directory without a lock is still there")
	}
}

// reachableTempDir is a temporary directory that the server's account can enter also where we are root.
func reachableTempDir(t *testing.T) string {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
