package difftest

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// account is who logs in where.
type account struct {
	user, password, database string
}

// setting is one startup parameter; their order is kept.
type setting struct{ name, value string }

const (
	protocol30 = 3 << 16
	protocol32 = 3<<16 | 2
)

// startupPacket encodes a StartupMessage.
func startupPacket(version uint32, settings []setting) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 4), version)
	for _, s := range settings {
		b = append(append(b, s.name...), 0)
		b = append(append(b, s.value...), 0)
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

// login sends a startup packet and answers what is asked until the session is ready or refused. The frames of the
// answer are left for the steps to read, without the exchange of secrets: only its outcome is kept.
func (c *client) login(who account, version uint32, extra ...setting) error {
	settings := append([]setting{{"user", who.user}, {"database", who.database}}, extra...)
	if err := c.write(startupPacket(version, settings)); err != nil {
		return err
	}
	return c.finishLogin(who)
}

func (c *client) finishLogin(who account) error {
	var kept []frame
	var proof scramProof
	for {
		f, err := c.next()
		if err != nil {
			return err
		}
		asked, err := c.authenticate(f, who, &proof)
		if err != nil {
			return err
		}
		if asked {
			continue
		}
		kept = append(kept, f)
		if f.typ == 'K' {
			c.pid, c.secret = binary.BigEndian.Uint32(f.body), f.body[4:]
		}
		if f.typ == 'Z' || f.typ == endOfStream {
			c.unread = kept
			return nil
		}
	}
}

// authenticate answers f if it asks for a secret.
func (c *client) authenticate(f frame, who account, proof *scramProof) (asked bool, err error) {
	if f.typ != 'R' || len(f.body) < 4 {
		return false, nil
	}
	data := f.body[4:]
	switch method := binary.BigEndian.Uint32(f.body); method {
	case 0:
		return false, nil
	case 3:
		return true, c.password(append([]byte(who.password), 0))
	case 5:
		return true, c.password(append([]byte(md5Answer(who, data)), 0))
	case 10:
		return true, c.password(proof.first())
	case 11:
		final, err := proof.final(who.password, string(data))
		if err != nil {
			return true, err
		}
		return true, c.password(final)
	case 12:
		return true, nil
	default:
		return true, fmt.Errorf("authentication method %d", method)
	}
}

// password sends a message of type 'p', which answers every method.
func (c *client) password(body []byte) error {
	b := binary.BigEndian.AppendUint32([]byte{'p'}, uint32(len(body)+4))
	return c.write(append(b, body...))
}

func md5Answer(who account, salt []byte) string {
	inner := md5.Sum([]byte(who.password + who.user))
	outer := md5.Sum(append([]byte(hex.EncodeToString(inner[:])), salt...))
	return "md5" + hex.EncodeToString(outer[:])
}

// scramProof is the client's side of SCRAM-SHA-256 without channel binding.
type scramProof struct{ bare string }

func (p *scramProof) first() []byte {
	p.bare = "n=,r=differential-test-nonce"
	response := "n,," + p.bare
	b := append([]byte("SCRAM-SHA-256"), 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(response)))
	return append(b, response...)
}

func (p *scramProof) final(password, challenge string) ([]byte, error) {
	var nonce, salt64 string
	var rounds int
	for _, part := range strings.Split(challenge, ",") {
		switch {
		case strings.HasPrefix(part, "r="):
			nonce = part[2:]
		case strings.HasPrefix(part, "s="):
			salt64 = part[2:]
		case strings.HasPrefix(part, "i="):
			rounds, _ = strconv.Atoi(part[2:])
		}
	}
	salt, err := base64.StdEncoding.DecodeString(salt64)
	if err != nil || nonce == "" || rounds < 1 {
		return nil, errors.Join(fmt.Errorf("challenge %q", challenge), err)
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		return nil, err
	}
	clientKey := mac(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	without := "c=biws,r=" + nonce
	signature := mac(stored[:], p.bare+","+challenge+","+without)
	for i := range clientKey {
		clientKey[i] ^= signature[i]
	}
	return []byte(without + ",p=" + base64.StdEncoding.EncodeToString(clientKey)), nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
