// Package certificate finds and names a server's CA for programs that do not know it yet.
//
// Whoever was given a fingerprint by a trusted way needs the certificate behind it, and the server itself
// shows it in the handshake. Presented takes it from there without ever trusting a connection: the
// handshake is begun with an empty pool of authorities, so it is refused before a byte of ours is sent, and
// the refusal carries what the server has shown. Every later connection is verified normally, with the
// certificate that was found. The package keeps no state and may be called by anyone.
package certificate

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/proxy"
)

// limit is how long a server may take for its part of the handshake.
const limit = 15 * time.Second

// Fingerprint names a certificate: SHA-256 of its DER form, lower-case hex.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// EncodePEM is the certificate as a PEM block.
func EncodePEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// Find returns the certificate of a chain that has the fingerprint, nil when there is none.
func Find(chain []*x509.Certificate, fingerprint string) *x509.Certificate {
	for _, cert := range chain {
		if Fingerprint(cert) == fingerprint {
			return cert
		}
	}
	return nil
}

// Presented lists the certificates that the https server at the address shows, its own first. They prove
// nothing: the caller compares fingerprints. It goes through the proxy of the environment. A server that
// cannot be reached or speaks no TLS 1.3 is the network's error, unwrapped.
func Presented(ctx context.Context, address string) ([]*x509.Certificate, error) {
	transport := &http.Transport{
		Proxy:                  proxy.FromEnvironment,
		OnProxyConnectResponse: proxy.Connected,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool()},
		TLSHandshakeTimeout:    limit,
		DialContext:            (&net.Dialer{Timeout: limit}).DialContext,
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "%q is not an address", address)
	}
	resp, err := transport.RoundTrip(req)
	if err == nil { // an empty pool verifies nothing, so there is no way here
		_ = resp.Body.Close()
		return nil, fault.New(fault.Untrusted, "%s was accepted without any known authority", address)
	}
	var refused *tls.CertificateVerificationError
	if errors.As(err, &refused) && len(refused.UnverifiedCertificates) > 0 {
		return refused.UnverifiedCertificates, nil
	}
	return nil, err
}
