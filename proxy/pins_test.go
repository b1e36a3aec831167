package proxy

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// The functions that changesSession names by OID are those of the catalogue.
func TestFunctionsThatChangeTheSession(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		conn, err := pgconn.Connect(t.Context(), pg.AdminDSN("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		results, err := conn.Exec(t.Context(), `SELECT oid, proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND (
			proname IN ('currval', 'lastval', 'setseed', 'set_config') OR
			proname ~ '^pg_(try_)?advisory_(un)?lock' OR proname ~ '^pg_replication_origin_session_(setup|reset)')`).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var oid uint32
		found := 0
		for _, row := range results[0].Rows {
			if _, err := fmt.Sscan(string(row[0]), &oid); err != nil {
				t.Fatal(err)
			}
			if changesSession(oid) == 0 {
				t.Errorf("%s, OID %d, is not known", row[1], oid)
			}
			if !suspicious([]byte("SELECT " + string(row[1]) + "(1)")) {
				t.Errorf("%s is not suspicious", row[1])
			}
			found++
		}
		n := 0
		for oid := range uint32(20000) {
			if changesSession(oid) != 0 {
				n++
			}
		}
		if n != found {
			t.Errorf("%d OIDs are known, %d are in the catalogue", n, found)
		}
	})
}
