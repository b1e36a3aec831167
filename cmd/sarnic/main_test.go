package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// TestMain makes the test binary the program itself where a test starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(pgtest.Main(m))
}
