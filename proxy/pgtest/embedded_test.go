package pgtest

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// repository serves one small archive, whatever version is asked for; its programs only tell that they are version 15.13. The
// real archive is covered wherever a test gets a server that the machine does not have.
type repository struct {
	archives atomic.Int64 // how often the archive was asked for
	checksum string       // what it claims
	status   int
	stall    <-chan struct{} // answers wait for it; nil does not wait
	archive  []byte
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	binaries, err := os.ReadFile("testdata/binaries.txz")
	if err != nil {
		t.Fatal(err)
	}
	var buffer bytes.Buffer
	archive := zip.NewWriter(&buffer)
	file, err := archive.Create("postgres-test.txz")
	if err == nil {
		_, err = file.Write(binaries)
	}
	if err = errors.Join(err, archive.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(buffer.Bytes())
	r := &repository{status: http.StatusOK, archive: buffer.Bytes(), checksum: hex.EncodeToString(sum[:])}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	t.Setenv(repositoryEnv, server.URL+"/")
	t.Setenv("XDG_CACHE_HOME", reachableTempDir(t))
	t.Setenv("TMPDIR", t.TempDir()) // the library leaves its empty log file there
	return r
}

func (r *repository) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if r.stall != nil {
		<-r.stall
	}
	switch {
	case r.status != http.StatusOK:
		http.Error(w, "no", r.status)
	case strings.HasSuffix(request.URL.Path, ".sha256"):
		fmt.Fprint(w, r.checksum)
	default:
		r.archives.Add(1)
		_, _ = w.Write(r.archive)
	}
}

func embedded15(ctx context.Context) (Install, error) {
	acct, err := serverAccount()
	if err != nil {
		return Install{}, err
	}
	return embedded(ctx, acct, 15, nil)
}

func TestEmbeddedIsFetchedOnce(t *testing.T) {
	repository := newRepository(t)
	results := make(chan error)
	const askers = 5
	for range askers {
		go func() {
			install, err := embedded15(t.Context())
			if err == nil && (install.Major != 15 || install.Version != "15.13") {
				err = fmt.Errorf("got %+v", install)
			}
			results <- err
		}()
	}
	for range askers {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if got := repository.archives.Load(); got != 1 {
		t.Errorf("%d downloads, want 1", got)
	}
	if left := leftBehind(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := embeddedRelease(14); err == nil {
		t.Error("there is a release of 14")
	}
}

func TestEmbeddedIsNotTrustedWithAWrongChecksum(t *testing.T) {
	repository := newRepository(t)
	right := repository.checksum
	repository.checksum = strings.Repeat("0", len(right))
	if _, err := embedded15(t.Context()); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("got %v", err)
	}
	repository.checksum = right
	if _, err := embedded15(t.Context()); err != nil {
		t.Errorf("after a failure: %v", err)
	}
	if left := leftBehind(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEmbeddedCannotBeHad(t *testing.T) {
	repository := newRepository(t)
	repository.status = http.StatusNotFound
	if _, err := embedded15(t.Context()); err == nil || !strings.Contains(err.Error(), "15.13.0") {
		t.Errorf("got %v", err)
	}
}

func TestEmbeddedGivesUpWithItsContext(t *testing.T) {
	repository := newRepository(t)
	stall := make(chan struct{})
	repository.stall = stall
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := embedded15(ctx)
		result <- err
	}()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(stall) // the library's download takes no context: it ends when the answer comes
	if _, err := embedded15(t.Context()); err != nil {
		t.Errorf("after giving up: %v", err)
	}
}

// leftBehind lists unfinished downloads in the cache.
func leftBehind(t *testing.T) []string {
	t.Helper()
	acct, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := cacheDir(acct)
	if err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(cache, "postgres", ".fetch-*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}
