package dial_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/pool/dial"
)

func TestParse(t *testing.T) {
	for _, dsn := range []string{
		"postgres://u:hush@h:5433/d?connect_timeout=7&gssencmode=prefer&keepalives=1&fallback_application_name=x",
		"host=h port=5433 user=u password=hush dbname=d connect_timeout=7 tcp_user_timeout=3",
	} {
		c, err := dial.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		if c.User() != "u" || c.Database() != "d" || c.Password() != "hush" || c.ConnectTimeout() != 7*time.Second ||
			len(c.Hosts()) != 1 || c.Hosts()[0] != "h:5433" {
			t.Errorf("%s is %s", dsn, c)
		}
		var b bytes.Buffer
		slog.New(slog.NewTextHandler(&b, nil)).Info("", slog.Any("server", c))
		fmt.Fprintf(&b, "%v %+v %#v", c, c, &c)
		if strings.Contains(b.String(), "hush") {
			t.Error(b.String())
		}
	}
}

func TestParseErrors(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://u:hush@h:port/d":                   "invalid port",
		"postgres://u:hu/sh@h/d":                       "invalid DSN",
		"host=h password=hush sslmode=maybe":           "sslmode",
		"host=h password=hush sslrootcert=/none":       "CA file",
		"host=h password=hush connect_timeout=x":       "connect_timeout",
		"host=h password=hush max_protocol_version=4":  "max_protocol_version",
		"host=h password=hush sslcrl=/x":               "sslcrl is not supported",
		"host=h password=hush gssencmode=require":      "gssencmode is not supported",
		"host=h password=hush load_balance_hosts=x":    "load_balance_hosts is not supported",
		"host=h password=hush replication=database":    "replication is not supported",
		"host=h password='hush":                        "invalid DSN",
		"host=h password=hush target_session_attrs=no": "target_session_attrs",
	} {
		_, err := dial.Parse(dsn)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", dsn, want, err)
		}
		if err != nil && strings.Contains(err.Error(), "hu") {
			t.Errorf("the password is in %v", err)
		}
	}
}

// TestSameHostOnce: sslmode=prefer tries each host twice, with and without TLS.
func TestSameHostOnce(t *testing.T) {
	c, err := dial.Parse("host=a,b,/tmp port=1,2,3 user=u sslmode=prefer")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.Hosts(), " "); got != "a:1 b:2 /tmp" {
		t.Error(got)
	}
	if (dial.Config{}).String() == "" {
		t.Error("the zero value prints nothing")
	}
}
