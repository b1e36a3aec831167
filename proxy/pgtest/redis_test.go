package pgtest

import (
	"context"
	"os/exec"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestRedis(t *testing.T) {
	t.Run("server", func(t *testing.T) {
		if _, err := exec.LookPath("redis-server"); err != nil {
			t.Fatalf("redis-server is missing: install the package redis-server: %v", err)
		}
		server, err := StartRedis(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !server.Real {
			t.Errorf("redis-server was found and not used: %s", server.Source)
		}
		speak(t, server)
	})
	t.Run("in process", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		server, err := StartRedis(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if server.Real {
			t.Errorf("found %s on an empty PATH", server.Source)
		}
		speak(t, server)
	})
}

// speak sets and gets a key, then closes the server, twice.
func speak(t *testing.T, server *Redis) {
	t.Helper()
	t.Log(server.Source)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := client.Get(t.Context(), "k").Result(); got != "v" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for range 2 {
		if err := server.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Error("a closed server answers")
	}
}

func TestRedisEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server, err := StartRedis(ctx)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	cancel()
	eventually(t, "redis ends with its context", func() bool { return client.Ping(t.Context()).Err() != nil })
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}
