package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority issues certificates with any validity.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := authority{key: key}
	a.cert = a.issue(t, &x509.Certificate{
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2190, 1, 1, 0, 0, 0, 0, time.UTC),
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

func (a authority) issue(t *testing.T, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	parent := a.cert
	if parent == nil {
		parent = template
	}
	template.SerialNumber = big.NewInt(1)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, a.key.Public(), a.key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// handshake fails as a real one does that is judged by c.
func (a authority) handshake(c *clock, leaf *x509.Certificate) error {
	_, err := leaf.Verify(x509.VerifyOptions{Roots: c.pool, CurrentTime: c.now()})
	if err == nil {
		return nil
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{leaf}, Err: err}
}

func TestClock(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	leaf := func(a authority, from, to time.Duration) *x509.Certificate {
		return a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "server"}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	}
	const day = 24 * time.Hour
	judge := func() *clock {
		c := &clock{pool: x509.NewCertPool()}
		c.pool.AddCert(ours.cert)
		return c
	}

	c := judge()
	future := leaf(ours, 900*day, 990*day)
	err := ours.handshake(c, future)
	require.Error(t, err)
	require.True(t, c.learn(err), "it has begun for the server, so our clock is behind")
	require.NoError(t, ours.handshake(c, future))
	require.False(t, c.learn(err), "nothing is learned twice")

	present := leaf(ours, -day, 89*day)
	err = ours.handshake(c, present)
	require.Error(t, err, "judged by the time of the one before")
	require.True(t, c.learn(err), "the server's clock was ahead and has been set right")
	require.NoError(t, ours.handshake(c, present))

	for name, bad := range map[string]*x509.Certificate{
		"ended":                         leaf(ours, -90*day, -day),
		"of another CA":                 leaf(theirs, -day, day),
		"of another CA, not begun":      leaf(theirs, day, 2*day),
		"not begun, and after its CA's": leaf(ours, 170*365*day, 171*365*day),
	} {
		c := judge()
		err := ours.handshake(c, bad)
		require.Error(t, err, name)
		require.False(t, c.learn(err), name)
		require.True(t, c.floor.IsZero(), name)
		require.Error(t, ours.handshake(c, bad), name)
	}
	require.ErrorContains(t, judge().explain(ours.handshake(judge(), leaf(ours, -90*day, -day))), "set this computer's clock")
	require.ErrorContains(t, judge().explain(ours.handshake(judge(), leaf(theirs, -day, day))), "another server")
}
