package scram

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
)

// What a client-first-message may begin with: the client cannot do channel binding, or can but thinks that the server
// cannot, or does. PostgreSQL allows no authorization identity, so these three are all there are.
const (
	GS2None   = "n,,"
	GS2Unused = "y,,"
	GS2Plus   = "p=" + EndPointType + ",,"
)

// EndPointType is the one kind of channel binding PostgreSQL has (RFC 5929).
const EndPointType = "tls-server-end-point"

// EndPoint is the hash of a server's certificate by the hash function of its signature; MD5 and SHA-1 stand for SHA-256.
// Others, such as Ed25519, have no such function: then it is nil, and there is no channel binding.
func EndPoint(cert *x509.Certificate) []byte {
	switch cert.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256:
		sum := sha256.Sum256(cert.Raw)
		return sum[:]
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		sum := sha512.Sum384(cert.Raw)
		return sum[:]
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		sum := sha512.Sum512(cert.Raw)
		return sum[:]
	}
	return nil
}
