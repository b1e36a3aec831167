package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sarnicdb/sarnic/proxy/login"
)

// clientTLS loads what is shown to clients. Paths are relative to folder. Nil without a certificate: then TLS is refused.
func (c certificates) clientTLS(folder string, bad func(key, text string)) *tls.Config {
	if c.Mode == login.TLSDisable {
		return nil
	}
	needsCA := c.Mode == login.TLSVerifyCA || c.Mode == login.TLSVerifyFull
	switch {
	case c.Cert == "" && c.Key == "" && c.ClientCA == "":
		if c.Mode == login.TLSRequire || needsCA {
			bad("tls.cert", fmt.Sprintf("is required with mode %s", c.Mode))
		}
		return nil
	case c.Cert == "":
		bad("tls.cert", "is required with the other files")
		return nil
	case c.Key == "":
		bad("tls.key", "is required with tls.cert")
		return nil
	}
	loaded := &tls.Config{MinVersion: tls.VersionTLS12}
	pair, err := tls.LoadX509KeyPair(within(folder, c.Cert), within(folder, c.Key))
	if err != nil {
		bad("tls.cert", fmt.Sprintf("cannot be used with its key: %v", err))
	}
	loaded.Certificates = []tls.Certificate{pair}
	switch {
	case c.ClientCA != "":
		loaded.ClientCAs = readAuthorities(within(folder, c.ClientCA), bad)
	case needsCA:
		bad("tls.client_ca", fmt.Sprintf("is required with mode %s", c.Mode))
	}
	return loaded
}

func readAuthorities(path string, bad func(key, text string)) *x509.CertPool {
	authorities := x509.NewCertPool()
	pem, err := os.ReadFile(path)
	switch {
	case err != nil:
		bad("tls.client_ca", fmt.Sprintf("cannot be read: %v", err))
	case !authorities.AppendCertsFromPEM(pem):
		bad("tls.client_ca", "holds no certificate")
	}
	return authorities
}

// within makes a path of the configuration file absolute to the folder the file is in.
func within(folder, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}
