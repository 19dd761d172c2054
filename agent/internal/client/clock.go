package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"github.com/muster/muster/packages/fault"
)

// clock is the time by which a server's certificate is judged. It is this computer's clock, with one
// exception: a certificate of the pinned CA that has not begun by our clock proves that our clock is
// behind, as after a battery went empty, and is judged at its own beginning. So a wrong clock does not
// keep a device from its server for ever. An end by our clock stands: docs/decisions/0007.
type clock struct {
	pool *x509.CertPool

	mu    sync.Mutex
	floor time.Time // the beginning of such a certificate, else zero
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.After(c.floor) {
		return now
	}
	return c.floor
}

// learn reports whether a handshake that failed would have been good by another time than it was judged
// by, and makes that the time of the next one. Nothing lasts: a server whose clock was ahead for a day is
// judged by our clock again once it is right.
func (c *clock) learn(err error) bool {
	leaf := expired(err)
	if leaf == nil {
		return false
	}
	local, at := time.Now(), time.Time{}
	if local.Before(leaf.NotBefore) {
		local, at = leaf.NotBefore, leaf.NotBefore
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: c.pool, CurrentTime: local}); err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.floor.Equal(at) {
		return false
	}
	c.floor = at
	return true
}

// expired is the certificate of a handshake that failed because of the time; nil for any other error.
func expired(err error) *x509.Certificate {
	var refused *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &refused) || !errors.As(err, &invalid) || invalid.Reason != x509.Expired || len(refused.UnverifiedCertificates) == 0 {
		return nil
	}
	return refused.UnverifiedCertificates[0]
}

// explain says of a handshake that failed what is wrong and what to do, in place of x509's own words.
func (c *clock) explain(err error) error {
	const layout = "2006-01-02 15:04 MST"
	var unknown x509.UnknownAuthorityError
	switch leaf := expired(err); {
	case leaf != nil && leaf.NotBefore.After(c.now()):
		return fault.Wrap(err, fault.Untrusted, "the server's certificate begins at %s, and this computer's clock says %s: set this computer's clock",
			leaf.NotBefore.UTC().Format(layout), time.Now().UTC().Format(layout))
	case leaf != nil:
		return fault.Wrap(err, fault.Untrusted, "the server's certificate ended at %s, and this computer's clock says %s: set this computer's clock; "+
			"if it is right, look at the server's clock and restart muster-server, which makes a new certificate",
			leaf.NotAfter.UTC().Format(layout), time.Now().UTC().Format(layout))
	case errors.As(err, &unknown):
		return fault.Wrap(err, fault.Untrusted, "the certificate is not of the server that this device was enrolled at: it is another server, or something between here and there opens the connection")
	}
	return err
}
