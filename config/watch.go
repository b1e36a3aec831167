package config

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"os"
	"time"
)

// Fingerprint is what some files looked like: two are equal as long as none of them has changed.
type Fingerprint [sha256.Size]byte

// maxHashed is up to which size a file's contents are looked at. Of a larger one, a list of a hundred thousand users, its
// size and times are: nobody wants to read it every second.
const maxHashed = 1 << 20

// FingerprintOf looks at files as they are now, behind any symbolic links: Kubernetes replaces a mounted ConfigMap by
// moving one. A file that is not there looks different from one that is.
func FingerprintOf(paths []string) Fingerprint {
	sum := sha256.New()
	for _, path := range paths {
		sum.Write([]byte(path))
		sum.Write([]byte{0})
		if err := look(sum, path); err != nil {
			sum.Write([]byte(err.Error()))
		}
		sum.Write([]byte{0})
	}
	return Fingerprint(sum.Sum(nil))
}

// look adds one file to sum. Only a regular file is opened: a pipe would block.
func look(sum hash.Hash, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxHashed {
		var b [8]byte
		for _, n := range []int64{int64(info.Mode()), info.Size(), info.ModTime().UnixNano()} {
			binary.BigEndian.PutUint64(b[:], uint64(n))
			sum.Write(b[:])
		}
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(sum, io.LimitReader(f, maxHashed))
	return err
}

// Settled waits until files have stopped changing: until they look the same twice, pause apart. An editor writes a file
// in more than one step, and a certificate and its key are two files. Whatever goes on, it ends after some looks.
func Settled(ctx context.Context, paths []string, pause time.Duration) {
	const looks = 50
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	before := FingerprintOf(paths)
	for range looks {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		now := FingerprintOf(paths)
		if now == before {
			return
		}
		before = now
	}
}
