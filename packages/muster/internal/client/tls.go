package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/muster/muster/packages/certificate"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

func tlsConfig(ca []byte) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if len(ca) == 0 {
		return config, nil
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(ca) {
		return nil, fault.Field("ca", "the CA file holds no certificate in PEM form")
	}
	return config, nil
}

// ParseFingerprint accepts upper case and the colons that other tools print.
func ParseFingerprint(s string) (string, error) {
	plain := strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(strings.TrimSpace(s)))
	if !protocol.IsSHA256(plain) {
		return "", fault.Field("ca-fingerprint", "%q is not a SHA-256 fingerprint: it has 64 hex digits", s)
	}
	return plain, nil
}

// Authority fetches the CA certificate of a server that is not trusted yet, see package certificate. With a fingerprint it returns the certificate that matches, without one the last of the chain, which
// a person must compare. Whatever it returns is used by normal verification afterwards.
func Authority(ctx context.Context, server, fingerprint string) (*x509.Certificate, error) {
	base, err := ParseServer(server)
	if err != nil {
		return nil, err
	}
	if base.Scheme != "https" {
		return nil, fault.Field("server", "%s does not use TLS and has no certificate", base)
	}
	chain, err := presented(ctx, base)
	if err != nil {
		return nil, err
	}
	if fingerprint == "" {
		last := chain[len(chain)-1]
		if !last.IsCA {
			return nil, fault.New(fault.Untrusted, "%s shows no CA certificate: give it with --ca-file", base)
		}
		return last, nil
	}
	if cert := certificate.Find(chain, fingerprint); cert != nil {
		return cert, nil
	}
	return nil, &CertificateError{Server: base.String(), Err: fmt.Errorf(
		"its CA has the fingerprint %s, not %s: check the address, or somebody is in between", certificate.Fingerprint(chain[len(chain)-1]), fingerprint)}
}

func presented(ctx context.Context, base *url.URL) ([]*x509.Certificate, error) {
	chain, err := certificate.Presented(ctx, base.String())
	if err == nil || fault.CodeOf(err) != fault.Internal { // a fault is told as it is
		return chain, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, &UnreachableError{Server: base.String(), Err: err}
}

// CertificateError says that a server's certificate does not verify.
type CertificateError struct {
	Server string
	// UnknownAuthority is true when only the CA is not known.
	UnknownAuthority bool
	Err              error
}

func (e *CertificateError) Error() string {
	if e.UnknownAuthority {
		return e.Server + " has a certificate of an authority that is not trusted: log in with --ca-fingerprint or --ca-file"
	}
	return e.Server + " has a certificate that does not verify: " + e.Err.Error()
}

// Unwrap gives the fault untrusted.
func (e *CertificateError) Unwrap() error {
	return fault.Wrap(e.Err, fault.Untrusted, "the server's certificate does not verify")
}

func certificateError(base *url.URL, err error) error {
	var unverified *tls.CertificateVerificationError
	if !errors.As(err, &unverified) {
		return nil
	}
	var unknown x509.UnknownAuthorityError
	return &CertificateError{Server: base.String(), UnknownAuthority: errors.As(err, &unknown), Err: unverified.Err}
}
