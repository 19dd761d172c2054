// Package tlsca is the server's own certificate authority and the certificate that it serves. Agents
// pin the authority by its fingerprint; the certificate below it is made at each start, lives in
// memory and renews by itself.
//
// The authority's key is written before its certificate, each atomically: after a crash between the
// two a new certificate is made for the key, which nobody can have pinned yet. Only cli constructs it.
package tlsca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/certificate"
)

// Lifetimes.
const (
	authorityLife = 20 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
	renewBefore   = 30 * 24 * time.Hour
	clockSkew     = 24 * time.Hour // agents' clocks may be behind
)

// Names of the files.
const (
	keyFile  = "ca.key"
	certFile = "ca.crt"
)

// Options are what Open needs.
type Options struct {
	Dir   string   // made when missing
	Hosts []string // DNS names and IP addresses of the served certificate
	Log   *slog.Logger
	Now   func() time.Time // time.Now when nil
}

// Authority is the CA with the certificate it serves.
type Authority struct {
	opt  Options
	key  crypto.Signer
	cert *x509.Certificate
	leaf atomic.Pointer[tls.Certificate]
}

// Open reads the authority, or makes one in an empty directory, and issues a certificate.
func Open(o Options) (*Authority, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &Authority{opt: o}
	if err := atomicfile.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of the certificate authority: %w", err)
	}
	if err := a.loadKey(); err != nil {
		return nil, err
	}
	if err := a.loadCert(); err != nil {
		return nil, err
	}
	return a, a.issue()
}

func (a *Authority) loadKey() error {
	path := filepath.Join(a.opt.Dir, keyFile)
	block, err := readPEM(path, "PRIVATE KEY")
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(a.opt.Dir, certFile)); err == nil {
			return fmt.Errorf("the certificate authority in %s has lost its key %s: restore it from a backup", a.opt.Dir, keyFile)
		}
		return a.makeKey(path)
	}
	if err != nil {
		return err
	}
	key, err := x509.ParsePKCS8PrivateKey(block)
	if err != nil {
		return fmt.Errorf("read key %s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return fmt.Errorf("read key %s: it cannot sign", path)
	}
	a.key = signer
	return nil
}

func (a *Authority) makeKey(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key of the certificate authority: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key of the certificate authority: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := atomicfile.Write(path, text, 0o600); err != nil {
		return fmt.Errorf("keep key of the certificate authority: %w", err)
	}
	a.key = key
	return nil
}

func (a *Authority) loadCert() error {
	path := filepath.Join(a.opt.Dir, certFile)
	der, err := readPEM(path, "CERTIFICATE")
	if errors.Is(err, fs.ErrNotExist) {
		return a.makeCert(path)
	}
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("read certificate %s: %w", path, err)
	}
	pub, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(a.key.Public()) {
		return fmt.Errorf("the certificate %s does not belong to the key beside it: restore both from one backup", path)
	}
	a.cert = cert
	return nil
}

func (a *Authority) makeCert(path string) error {
	serial, err := newSerial()
	if err != nil {
		return err
	}
	now := a.opt.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Muster server CA " + serial.Text(16)[:8]},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("make certificate of the certificate authority: %w", err)
	}
	if err := atomicfile.Write(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return fmt.Errorf("keep certificate of the certificate authority: %w", err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("read certificate of the certificate authority: %w", err)
	}
	return nil
}

// issue makes the certificate that is served from now on, with a new key.
func (a *Authority) issue() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make server key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	now := a.opt.Now()
	end := now.Add(leafLife)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Muster server"},
		NotBefore: now.Add(-clockSkew), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, host := range a.opt.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("make server certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("read server certificate: %w", err)
	}
	// The authority goes along: who knows only its fingerprint finds it in the handshake.
	a.leaf.Store(&tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf})
	return nil
}

// Run renews the served certificate in time, until ctx ends.
func (a *Authority) Run(ctx context.Context) {
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			a.renew(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (a *Authority) renew(ctx context.Context) {
	if a.opt.Now().Before(a.leaf.Load().Leaf.NotAfter.Add(-renewBefore)) {
		return
	}
	if err := a.issue(); err != nil {
		a.opt.Log.ErrorContext(ctx, "the server certificate was not renewed", "until", a.leaf.Load().Leaf.NotAfter, "err", err)
		return
	}
	a.opt.Log.InfoContext(ctx, "server certificate renewed", "until", a.leaf.Load().Leaf.NotAfter)
}

// TLSConfig is for the listener: TLS 1.3, always with the newest certificate.
func (a *Authority) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.leaf.Load(), nil },
	}
}

// Fingerprint is the SHA-256 of the authority's certificate, which agents pin: lower-case hex.
func (a *Authority) Fingerprint() string { return certificate.Fingerprint(a.cert) }

// Certificate is the authority's certificate.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return serial.SetBit(serial, 120, 1), nil // of one length
}

// readPEM is the content of a file's first block, which must be of the kind.
func readPEM(path, kind string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("read %s: it holds no %s; restore it from a backup", path, kind)
	}
	return block.Bytes, nil
}
