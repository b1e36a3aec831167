package admin

import (
	"fmt"
	"testing"
	"time"
)

func TestAverages(t *testing.T) {
	st := State{Stats: []Stats{
		{
			Database: "a", Total: Numbers{Queries: 1000}, Length: 20 * time.Second,
			Period: Numbers{
				Queries: 100, QueryTime: 5000, Transactions: 50, TransactionTime: 10_000, Assignments: 40, WaitTime: 4040, Received: 2000, Sent: 4000,
				Logins: 60,
			},
		},
		{Database: "b", Length: 20 * time.Second},
	}}
	want := map[string]string{
		"avg_query_count": "5", "avg_query_time": "50", "avg_xact_count": "2", "avg_xact_time": "200", "avg_server_assignment_count": "2",
		"avg_wait_time": "101", "avg_recv": "100", "avg_sent": "200", "avg_client_login_count": "3", "total_query_count": "1000",
	}
	for _, v := range statsViews() {
		if v.name != "stats" {
			continue
		}
		rows := v.rows(&st)
		for i, c := range v.columns {
			if got, ok := want[c.name]; ok && fmt.Sprint(rows[0][i]) != got {
				t.Errorf("%s: %v, want %s", c.name, rows[0][i], got)
			}
			if i > 0 && rows[1][i] != int64(0) {
				t.Errorf("%s of nothing: %v", c.name, rows[1][i])
			}
		}
	}
}

func TestNumbersNeverBecomeNegative(t *testing.T) {
	n := Numbers{Queries: 5, Sent: 7}
	n.Subtract(&Numbers{Queries: 6, Sent: 1})
	if want := (Numbers{Sent: 6}); n != want {
		t.Errorf("got %+v", n)
	}
}
