package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// cacheDir is the directory kept between runs. The server's account must be able to reach it: root's own cache directory
// usually cannot be entered by anyone else, so root falls back to the machine's.
func cacheDir(acct account) (string, error) {
	var tried []error
	for _, dir := range cacheCandidates(acct) {
		err := privateDir(dir)
		if err == nil {
			return dir, nil
		}
		tried = append(tried, err)
	}
	return "", fmt.Errorf("no cache directory: %w", errors.Join(tried...))
}

func cacheCandidates(acct account) []string {
	var dirs []string
	if base, err := os.UserCacheDir(); err == nil && (!acct.switched || openToAll(base)) {
		dirs = append(dirs, filepath.Join(base, "sarnic"))
	}
	if acct.switched {
		dirs = append(dirs, "/var/cache/sarnic")
	}
	return append(dirs, filepath.Join(os.TempDir(), fmt.Sprintf("sarnic-cache-%d", os.Geteuid())))
}

// openToAll tells whether every existing directory on the way to path may be entered by any user.
func openToAll(path string) bool {
	for {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(path)
		if parent == path {
			return true
		}
		path = parent
	}
}

// privateDir makes dir, or checks that the one found there is ours alone to write: programs in it will be executed.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is not a directory that only this user can write", dir)
	}
	return nil
}

// lockPoll is how often a lock held by another process is tried again.
const lockPoll = 50 * time.Millisecond

// withLock runs fn while this process alone holds the lock file. The kernel drops the lock with the process.
func withLock(ctx context.Context, path string, fn func() error) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	for {
		locked, err := tryLock(file)
		if err != nil {
			return err
		}
		if locked {
			return fn()
		}
		if err := pause(ctx, lockPoll); err != nil {
			return fmt.Errorf("waiting for the lock %s: %w", path, err)
		}
	}
}

// tryLock takes the file's lock without waiting. Closing the file gives it back.
func tryLock(file *os.File) (bool, error) {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
