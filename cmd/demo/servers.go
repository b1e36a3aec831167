package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// The role and database everything is tried with.
const (
	user     = "demo"
	password = "demo"
	database = "demo"
)

// servers are what sarnic stands in front of.
type servers struct {
	primary, replica *pgtest.Postgres
	redis            *pgtest.Redis
}

// start starts them one after another and says what was found. What an error leaves running, stop ends.
func (s *servers) start(ctx context.Context, version int, out *screen) (err error) {
	s.primary, err = pgtest.Start(ctx, pgtest.Options{
		Version:  version,
		Users:    []pgtest.User{{Name: user, Password: password}},
		Settings: map[string]string{"shared_buffers": "64MB"},
		Progress: out.note,
	})
	if err != nil {
		return err
	}
	install := s.primary.Install
	out.line("PostgreSQL", "%s, %s", install.Version, install.Source)
	out.line("primary", "%s", s.primary.Addr())
	if err := s.primary.Exec(ctx, pgtest.Superuser, fmt.Sprintf("CREATE DATABASE %s OWNER %s", database, user)); err != nil {
		return err
	}
	if s.replica, err = s.primary.Replica(ctx); err != nil {
		return err
	}
	out.line("replica", "%s, streaming", s.replica.Addr())
	if s.redis, err = pgtest.StartRedis(ctx); err != nil {
		return err
	}
	out.line("Redis", "%s, %s", s.redis.Addr, s.redis.Source)
	return nil
}

// stop ends what was started.
func (s *servers) stop() error {
	var err error
	if s.redis != nil {
		err = errors.Join(err, s.redis.Close())
	}
	if s.replica != nil {
		err = errors.Join(err, s.replica.Close())
	}
	if s.primary != nil {
		err = errors.Join(err, s.primary.Close())
	}
	return err
}

func (s *servers) upstream() string { return s.primary.DSN(user, password, database) }

func (s *servers) standby() string { return s.replica.DSN(user, password, database) }

// milliseconds is how durations are shown.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
