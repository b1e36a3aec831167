package main

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// connect logs in to a running program and asks who the server thinks it is.
func (r *running) connect(dsn string) (who string, err error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	client, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer func() { _ = client.Close(context.WithoutCancel(ctx)) }()
	results, err := client.Exec(ctx, "SELECT current_user || '@' || current_database()").ReadAll()
	if err != nil {
		return "", err
	}
	return string(results[0].Rows[0][0]), nil
}

func TestClientsLogInWithTheDSNsUserAndPassword(t *testing.T) {
	server := pgtest.Server(t, 15)
	database := server.NewDatabase(t)
	role := "shop_" + database
	if err := server.Exec(t.Context(), pgtest.Superuser, "CREATE ROLE "+role+" LOGIN PASSWORD 'secret'"); err != nil {
		t.Fatal(err)
	}
	r := startServe(t.Context(), t, "--upstream", server.DSN(role, "secret", database))
	r.ready()
	address := r.log.address("listening")
	if who, err := r.connect("postgres://" + role + ":secret@" + address + "/" + database + "?sslmode=disable"); err != nil || who != role+"@"+database {
		t.Errorf("%q, %v\n%s", who, err, r.log)
	}
	for _, dsn := range []string{
		role + ":wrong@" + address + "/" + database, "other:secret@" + address + "/" + database, role + ":secret@" + address + "/other",
	} {
		if who, err := r.connect("postgres://" + dsn + "?sslmode=disable"); err == nil {
			t.Errorf("%s logged in as %s", dsn, who)
		}
	}
	r.signal()
	if err := r.ends(); err != nil {
		t.Error(err)
	}
}

func TestClientsAreTrustedWhereTheDSNHasNoPassword(t *testing.T) {
	server := pgtest.New(t, pgtest.Options{Version: 15, HBA: []string{"host all shop 127.0.0.1/32 trust"}, Users: []pgtest.User{{Name: "shop"}}})
	r := startServe(t.Context(), t, "--upstream", "postgres://shop@"+server.Addr()+"/postgres?sslmode=disable")
	r.ready()
	address := r.log.address("listening")
	if who, err := r.connect("postgres://shop@" + address + "/postgres?sslmode=disable"); err != nil || who != "shop@postgres" {
		t.Errorf("%q, %v\n%s", who, err, r.log)
	}
	r.signal()
	if err := r.ends(); err != nil {
		t.Error(err)
	}
}
