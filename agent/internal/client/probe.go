package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"

	"github.com/muster/muster/packages/fault"
)

// LearnCA finds the CA certificate with the pinned fingerprint at one of the addresses. It connects with
// an empty pool, so that the handshake is refused before a byte of ours is sent, and takes the
// certificate out of the refusal; what it returns is trusted because of the fingerprint alone, and every
// later connection verifies the server with it.
func LearnCA(ctx context.Context, urls []string, fingerprint string) (string, error) {
	t := transport(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool()}, false)
	h := &http.Client{Transport: t, CheckRedirect: noRedirect, Timeout: headerLimit}
	var errs []error
	for _, url := range urls {
		ca, err := probe(ctx, h, url, fingerprint)
		if err == nil {
			return ca, nil
		}
		errs = append(errs, err)
	}
	err := errors.Join(errs...)
	if fault.Is(err, fault.Untrusted) {
		return "", err
	}
	return "", fault.Wrap(err, fault.Unavailable, "the server cannot be reached")
}

func probe(ctx context.Context, h *http.Client, url, fingerprint string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("make the request: %w", err)
	}
	resp, err := h.Do(req)
	if err == nil { // an empty pool verifies nothing, so there is no way here
		resp.Body.Close()
		return "", fault.New(fault.Untrusted, "%s was accepted without a known CA", url)
	}
	var refused *tls.CertificateVerificationError
	if !errors.As(err, &refused) {
		return "", err
	}
	for _, cert := range refused.UnverifiedCertificates {
		sum := sha256.Sum256(cert.Raw)
		if hex.EncodeToString(sum[:]) != fingerprint {
			continue
		}
		if !cert.IsCA {
			return "", fault.New(fault.Untrusted, "the certificate of %s with the enrolled fingerprint is no CA", url)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})), nil
	}
	return "", fault.New(fault.Untrusted, "%s shows no certificate with the fingerprint %.16s… of the enrollment string: it is another server, or something between here and there opens the connection", url, fingerprint)
}
