package notify_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }
