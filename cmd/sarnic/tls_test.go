package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/login"
)

// writeCertificate makes a self-signed certificate, which is its own authority too.
func writeCertificate(t *testing.T, folder string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"server.crt": {Type: "CERTIFICATE", Bytes: certificate}, "server.key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertificatesOfAFileAreBesideIt(t *testing.T) {
	folder := t.TempDir()
	writeCertificate(t, folder)
	path := filepath.Join(folder, "sarnic.yaml")
	text := `
tls: {mode: verify-full, cert: server.crt, key: server.key, client_ca: server.crt}
auth: {method: trust}
databases:
  app: {upstream: postgres://app@127.0.0.1:5432/app}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := readFile(path, environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	if c := s.proxy; c.TLS == nil || len(c.TLS.Certificates) != 1 || c.TLS.ClientCAs == nil || c.TLSMode != login.TLSVerifyFull {
		t.Errorf("mode %s, TLS %+v", c.TLSMode, c.TLS)
	}
}

func TestCertificatesThatCannotBeUsed(t *testing.T) {
	folder := t.TempDir()
	writeCertificate(t, folder)
	for _, c := range []struct {
		certificates certificates
		blamed       string
	}{
		{certificates{Mode: login.TLSPrefer, Cert: "server.crt"}, "tls.key"},
		{certificates{Mode: login.TLSPrefer, Key: "server.key"}, "tls.cert"},
		{certificates{Mode: login.TLSPrefer, Cert: "server.key", Key: "server.key"}, "tls.cert"},
		{certificates{Mode: login.TLSVerifyCA, Cert: "server.crt", Key: "server.key"}, "tls.client_ca"},
		{certificates{Mode: login.TLSVerifyCA, Cert: "server.crt", Key: "server.key", ClientCA: "none"}, "tls.client_ca"},
		{certificates{Mode: login.TLSVerifyCA, Cert: "server.crt", Key: "server.key", ClientCA: "server.key"}, "tls.client_ca"},
		{certificates{Mode: login.TLSDisable, Cert: "none", Key: "none"}, ""},
	} {
		blamed := ""
		c.certificates.clientTLS(folder, func(key, _ string) { blamed = key })
		if blamed != c.blamed {
			t.Errorf("%+v: blamed %q, want %q", c.certificates, blamed, c.blamed)
		}
	}
}
