package pgtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	workPattern = "sarnic-pg-*"
	ownerLock   = "owner.lock"
	// unlockedAge is how old a directory without a lock file must be to count as left behind: a younger one is being made.
	unlockedAge = time.Hour
)

// workdir is the directory of one server, locked for as long as its process lives: the lock tells others that it is in use.
type workdir struct {
	path string
	lock *os.File
}

// newWorkdir makes a directory that belongs to the account, after removing those of processes that are gone.
func newWorkdir(acct account) (*workdir, error) {
	sweep()
	const attempts = 3 // a sweeper of another process may take our lock between two steps
	for range attempts {
		path, err := os.MkdirTemp("", workPattern)
		if err != nil {
			return nil, err
		}
		lock, err := os.OpenFile(filepath.Join(path, ownerLock), os.O_CREATE|os.O_RDWR, 0o600)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if locked, err := tryLock(lock); err != nil || !locked {
			err = errors.Join(err, lock.Close())
			if err != nil {
				return nil, err
			}
			continue
		}
		if err := acct.give(path); err != nil {
			return nil, errors.Join(err, lock.Close(), os.RemoveAll(path))
		}
		return &workdir{path: path, lock: lock}, nil
	}
	return nil, fmt.Errorf("no directory in %s could be locked", os.TempDir())
}

func (w *workdir) join(name string) string { return filepath.Join(w.path, name) }

// remove deletes the directory and then its lock. Calling it again does nothing.
func (w *workdir) remove() error {
	if w.lock == nil {
		return nil
	}
	err := errors.Join(removeLocked(w.path), w.lock.Close())
	w.lock = nil
	return err
}

// removeLocked deletes the lock file last: where a dying server still writes, the directory stays recognisable and the next
// sweep tries again.
func removeLocked(path string) error {
	entries, err := os.ReadDir(path)
	for _, entry := range entries {
		if entry.Name() != ownerLock {
			err = errors.Join(err, os.RemoveAll(filepath.Join(path, entry.Name())))
		}
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(path)
}

// sweep removes directories whose owner is gone. What cannot be removed (another user's) stays.
func sweep() {
	paths, err := filepath.Glob(filepath.Join(os.TempDir(), workPattern))
	if err != nil {
		return
	}
	for _, path := range paths {
		if abandoned(path) {
			_ = removeLocked(path)
		}
	}
}

func abandoned(path string) bool {
	lock, err := os.OpenFile(filepath.Join(path, ownerLock), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		info, err := os.Stat(path)
		return err == nil && time.Since(info.ModTime()) > unlockedAge
	}
	if err != nil {
		return false
	}
	defer lock.Close()
	locked, err := tryLock(lock)
	return err == nil && locked
}
