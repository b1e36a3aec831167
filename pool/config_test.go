package pool

import (
	"slices"
	"testing"
	"time"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if ps := DefaultConfig().Validate(); len(ps) > 0 {
		t.Error(ps)
	}
}

func TestValidateNamesEveryProblem(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		keys   []string
	}{
		{func(c *Config) { c.Mode = "session" }, nil},
		{func(c *Config) { c.Mode = "statement" }, nil},
		{func(c *Config) { c.Mode = "" }, []string{"mode"}},
		{func(c *Config) { c.Size = 0 }, []string{"size"}},
		{func(c *Config) { c.MinSize = 20 }, nil},
		{func(c *Config) { c.MinSize = 21 }, []string{"min_size"}},
		{func(c *Config) { c.Reserve, c.Statements = -1, 0 }, []string{"reserve", "statements"}},
		{
			func(c *Config) {
				c.ReserveAfter, c.Lifetime, c.IdleTimeout, c.WaitTimeout, c.WaitNotice, c.ConnectTimeout = 0, 0, 0, 0, 0, 0
			}, nil,
		},
		{func(c *Config) { *c = Config{} }, []string{"mode", "size", "statements"}},
		{
			func(c *Config) {
				d := -time.Second
				c.ReserveAfter, c.Lifetime, c.IdleTimeout, c.WaitTimeout, c.WaitNotice, c.ConnectTimeout = d, d, d, d, d, d
			},
			[]string{"reserve_after", "lifetime", "idle_timeout", "wait_timeout", "wait_notice", "connect_timeout"},
		},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		var keys []string
		for _, p := range cfg.Validate() {
			keys = append(keys, p.Key)
			if p.Text == "" {
				t.Errorf("nothing is said of %s", p.Key)
			}
		}
		if !slices.Equal(keys, c.keys) {
			t.Errorf("problems %v, want %v", keys, c.keys)
		}
	}
}

func TestStatesHaveNames(t *testing.T) {
	for s := range states {
		if s.String() == "" {
			t.Errorf("state %d has no name", s)
		}
	}
}
