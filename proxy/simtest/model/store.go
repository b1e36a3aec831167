package model

import (
	"maps"
	"strings"
)

// Store is the committed data of a server, shared by its Backends.
type Store struct {
	data map[string]string
}

// NewStore makes an empty one.
func NewStore() *Store { return &Store{data: map[string]string{}} }

// Of is a copy of what is committed under keys that begin with prefix.
func (s *Store) Of(prefix string) map[string]string {
	own := map[string]string{}
	for k, v := range s.data {
		if strings.HasPrefix(k, prefix) {
			own[k] = v
		}
	}
	return own
}

func (s *Store) apply(writes map[string]string) { maps.Copy(s.data, writes) }
