package pgtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Names of the files: the first is beside the data directory for clients and inside it for the server, which finds the others
// by its own defaults.
const (
	caFile         = "ca.crt"
	serverCertFile = "server.crt"
	serverKeyFile  = "server.key"
)

// certificateLife is longer than any test and shorter than anything worth stealing.
const certificateLife = 24 * time.Hour

// authority signs the certificates of one server, its replicas and its clients.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes an authority and writes its certificate into dir.
func newAuthority(dir string, acct account) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	subject := certificateFor("pgtest authority")
	subject.IsCA, subject.BasicConstraintsValid, subject.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, subject, subject, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &authority{dir: dir, cert: cert, key: key}
	return a, writePEM(acct, filepath.Join(dir, caFile), "CERTIFICATE", der)
}

func certificateFor(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		serial = big.NewInt(time.Now().UnixNano())
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(certificateLife),
	}
}

// issue writes a certificate and its key for the subject.
func (a *authority) issue(acct account, subject *x509.Certificate, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	subject.KeyUsage = x509.KeyUsageDigitalSignature
	cert, err := x509.CreateCertificate(rand.Reader, subject, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(writePEM(acct, certFile, "CERTIFICATE", cert), writePEM(acct, keyFile, "PRIVATE KEY", secret))
}

// installServerCertificate puts what the server needs into its data directory, from where replicas inherit it.
func (p *Postgres) installServerCertificate() error {
	subject := certificateFor("localhost")
	subject.DNSNames, subject.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	subject.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	dir := p.DataDir()
	err := p.tls.issue(p.acct, subject, filepath.Join(dir, serverCertFile), filepath.Join(dir, serverKeyFile))
	if err != nil {
		return err
	}
	return copyFile(p.acct, filepath.Join(p.tls.dir, caFile), filepath.Join(dir, caFile))
}

// CAFile is the certificate to verify the server with (sslrootcert), "" without TLS.
func (p *Postgres) CAFile() string {
	if p.tls == nil {
		return ""
	}
	return filepath.Join(p.tls.dir, caFile)
}

// ClientCertificate writes a certificate that names user, for "cert" lines of pg_hba.conf.
func (p *Postgres) ClientCertificate(user string) (certFile, keyFile string, err error) {
	if p.tls == nil {
		return "", "", errors.New("the server was started without TLS")
	}
	subject := certificateFor(user)
	subject.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	base := filepath.Join(p.tls.dir, fmt.Sprintf("client-%x", subject.SerialNumber))
	certFile, keyFile = base+".crt", base+".key"
	// The client is this process, so the files stay ours.
	return certFile, keyFile, p.tls.issue(account{}, subject, certFile, keyFile)
}

func writePEM(acct account, path, kind string, der []byte) error {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		return err
	}
	return acct.give(path)
}
