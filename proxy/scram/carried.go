package scram

import (
	"crypto/sha256"
	"crypto/subtle"
)

// Carried is a Key on its way to another process. Everything in it is secret.
type Carried struct {
	Salt                   []byte
	Iterations             int
	Stored, Server, Client [sha256.Size]byte
}

// Carry takes k apart.
func (k *Key) Carry() Carried {
	v := k.verifier
	return Carried{Salt: v.Salt, Iterations: v.Iterations, Stored: v.Stored, Server: v.Server, Client: k.client}
}

// Key puts it together again. It is nil where the parts do not belong to each other.
func (c Carried) Key() *Key {
	stored := sha256.Sum256(c.Client[:])
	if subtle.ConstantTimeCompare(stored[:], c.Stored[:]) != 1 || c.Iterations < 1 || len(c.Salt) == 0 {
		return nil
	}
	return &Key{
		verifier: &Verifier{Salt: c.Salt, Iterations: c.Iterations, Stored: c.Stored, Server: c.Server}, client: c.Client,
	}
}
