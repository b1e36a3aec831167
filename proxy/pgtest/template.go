package pgtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// templateFormat changes when this package initialises clusters differently, so that old ones are not used.
const templateFormat = 1

// template returns a freshly initialised cluster of this installation, made once and kept in the cache: copying it takes a
// tenth of initdb's time.
func template(ctx context.Context, acct account, install Install, progress func(string)) (string, error) {
	cache, err := cacheDir(acct)
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "cluster")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	place := sha256.Sum256([]byte(install.Bin)) // two builds of one version may differ in what they compiled in
	dir := filepath.Join(root, fmt.Sprintf("%s-%x-%d-%d", install.Version, place[:6], acct.uid, templateFormat))
	if exists(dir) {
		return dir, nil
	}
	err = withLock(ctx, dir+".lock", func() error {
		if exists(dir) {
			return nil // another process was faster
		}
		report(progress, "initialising a PostgreSQL %s cluster (once per machine)", install.Version)
		return initialise(ctx, acct, install, root, dir)
	})
	return dir, err
}

// initialise runs initdb in a directory beside dir and renames the result. The caller holds the lock of dir.
func initialise(ctx context.Context, acct account, install Install, root, dir string) error {
	prefix := ".initdb-" + filepath.Base(dir) + "-"
	if err := removeMatching(filepath.Join(root, prefix+"*")); err != nil {
		return err
	}
	staging, err := os.MkdirTemp(root, prefix)
	if err != nil {
		return err
	}
	data, password := filepath.Join(staging, "data"), filepath.Join(staging, "password")
	err = os.WriteFile(password, []byte(SuperPassword+"\n"), 0o600)
	if err == nil {
		err = errors.Join(acct.give(staging), acct.give(password))
	}
	if err == nil {
		_, err = output(ctx, acct.command(staging, install.program("initdb"), "--pgdata="+data, "--username="+Superuser,
			"--pwfile="+password, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"))
	}
	if err == nil {
		err = os.Rename(data, dir)
	}
	return errors.Join(err, os.RemoveAll(staging))
}

// copyTree copies directories and files from src to dst, which must not exist, and gives them to the account. keep decides by
// the path relative to src; a directory it refuses is left out with all it holds. Files that vanish meanwhile are skipped:
// src may be the data directory of a running server.
func copyTree(acct account, src, dst string, keep func(rel string) bool) error {
	return filepath.WalkDir(src, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != src {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		target := filepath.Join(dst, rel)
		switch {
		case rel != "." && !keep(rel):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return errors.Join(os.Mkdir(target, 0o700), acct.give(target))
		case entry.Type().IsRegular():
			return copyFile(acct, path, target)
		}
		return nil // sockets; our clusters hold no symbolic links
	})
}

func copyFile(acct account, src, dst string) error {
	in, err := os.Open(src)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), acct.give(dst))
}
