package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// repositoryEnv names a mirror of Maven Central to download from, for example https://mirror.example/maven2.
const repositoryEnv = "SARNIC_MAVEN"

// newestEmbedded is what "any version" means where the machine has none.
const newestEmbedded = 18

// embeddedRelease names the archive of a major version.
func embeddedRelease(major int) (embeddedpostgres.PostgresVersion, error) {
	switch major {
	case 15:
		return embeddedpostgres.V15, nil
	case 16:
		return embeddedpostgres.V16, nil
	case 17:
		return embeddedpostgres.V17, nil
	case 18:
		return embeddedpostgres.V18, nil
	}
	return "", fmt.Errorf("not found on this machine, and there are no embedded binaries of version %d", major)
}

// embedded returns the binaries kept in the cache, downloading them the first time.
func embedded(ctx context.Context, acct account, major int, progress func(string)) (Install, error) {
	release, err := embeddedRelease(major)
	if err != nil {
		return Install{}, err
	}
	cache, err := cacheDir(acct)
	if err != nil {
		return Install{}, err
	}
	root := filepath.Join(cache, "postgres")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return Install{}, err
	}
	key := fmt.Sprintf("%s-%s-%s", release, runtime.GOOS, runtime.GOARCH)
	dir := filepath.Join(root, key)
	if !exists(dir) {
		err := withLock(ctx, dir+".lock", func() error {
			if exists(dir) {
				return nil // another process was faster
			}
			return fetch(ctx, release, root, key, progress)
		})
		if err != nil {
			return Install{}, fmt.Errorf("embedded binaries %s: %w", release, err)
		}
	}
	found, err := inspect(ctx, acct, filepath.Join(dir, "bin"))
	found.Source = fmt.Sprintf("embedded binaries in %s", dir)
	return found, err
}

// fetch downloads and unpacks a release into root/key. The caller holds the lock of key.
func fetch(ctx context.Context, release embeddedpostgres.PostgresVersion, root, key string, progress func(string)) error {
	prefix := ".fetch-" + key + "-"
	if err := removeMatching(filepath.Join(root, prefix+"*")); err != nil { // left by a process that was killed here
		return err
	}
	staging, err := os.MkdirTemp(root, prefix)
	if err != nil {
		return err
	}
	unpacked, err := download(ctx, release, staging, progress)
	if err != nil {
		return err // after the end of ctx the download may still write to staging: the next fetch removes it
	}
	err = openTree(unpacked)
	if err == nil {
		err = os.Rename(unpacked, filepath.Join(root, key))
	}
	return errors.Join(err, os.RemoveAll(staging))
}

// download waits for the archive and says once in a while that it still does.
func download(ctx context.Context, release embeddedpostgres.PostgresVersion, staging string, progress func(string)) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	report(progress, "downloading the embedded PostgreSQL %s (once per machine)", release)
	unpacked := filepath.Join(staging, "pgsql")
	done := make(chan error, 1)
	go func() { done <- unpackRelease(release, staging, unpacked) }()

	started := time.Now()
	ticker := time.NewTicker(5 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			http.DefaultClient.CloseIdleConnections() // the library downloads with it and leaves its connections open
			return unpacked, err
		case <-ticker.C:
			report(progress, "still downloading PostgreSQL %s (%s)", release, time.Since(started).Round(time.Second))
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// unpackRelease uses the library for the two things it does well, choosing the archive for this system and unpacking it
// after comparing its checksum. The library can only start a whole server, so its start is made to end between unpacking
// and initdb: a data directory called "." inside another cannot be cleared, on any system, and nothing is executed.
func unpackRelease(release embeddedpostgres.PostgresVersion, staging, unpacked string) (err error) {
	defer func() {
		if failure := recover(); failure != nil { // the library panics when it cannot remove its own temporary files
			err = fmt.Errorf("unpacking: %v", failure)
		}
	}()
	config := embeddedpostgres.DefaultConfig()
	if mirror := os.Getenv(repositoryEnv); mirror != "" {
		config = config.BinaryRepositoryURL(strings.TrimSuffix(mirror, "/"))
	}
	library := embeddedpostgres.NewDatabase(config.
		Version(release).
		Port(0).
		Logger(io.Discard).
		CachePath(filepath.Join(staging, "archive")).
		RuntimePath(filepath.Join(staging, "runtime")).
		BinariesPath(unpacked).
		DataPath(filepath.Join(staging, "none") + string(filepath.Separator) + "."))
	started := library.Start()
	if started == nil {
		return errors.Join(errors.New("the library started a server instead of stopping after unpacking"), library.Stop())
	}
	for _, name := range []string{"postgres", "initdb"} {
		if !executable(filepath.Join(unpacked, "bin", name)) {
			return started
		}
	}
	return nil
}

// openTree lets every user read the tree: the archive's modes and our umask must not keep the server's account out.
func openTree(root string) error {
	return filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Type()&os.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if entry.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	})
}

func removeMatching(pattern string) error {
	paths, err := filepath.Glob(pattern)
	for _, path := range paths {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func report(progress func(string), format string, args ...any) {
	if progress != nil {
		progress(fmt.Sprintf(format, args...))
	}
}
