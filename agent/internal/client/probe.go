package client

import (
	"context"
	"errors"

	"github.com/muster/muster/packages/certificate"
	"github.com/muster/muster/packages/fault"
)

// LearnCA finds the CA certificate with the pinned fingerprint at one of the addresses. It is trusted
// because of the fingerprint alone, and every later connection verifies the server with it.
func LearnCA(ctx context.Context, urls []string, fingerprint string) (string, error) {
	var errs []error
	for _, url := range urls {
		ca, err := learn(ctx, url, fingerprint)
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

func learn(ctx context.Context, url, fingerprint string) (string, error) {
	chain, err := certificate.Presented(ctx, url)
	if err != nil {
		return "", err
	}
	cert := certificate.Find(chain, fingerprint)
	switch {
	case cert == nil:
		return "", fault.New(fault.Untrusted, "%s shows no certificate with the fingerprint %.16s… of the enrollment string: it is another server, or something between here and there opens the connection", url, fingerprint)
	case !cert.IsCA:
		return "", fault.New(fault.Untrusted, "the certificate of %s with the enrolled fingerprint is no CA", url)
	}
	return string(certificate.EncodePEM(cert)), nil
}
