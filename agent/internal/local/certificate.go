package local

import (
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
	"os"
	"path/filepath"
	"time"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/certificate"
	"github.com/muster/muster/packages/logging"
)

// certificateFile holds certificate and key, in the data directory.
const certificateFile = "listener.pem"

// certificateYears is long: nobody follows a chain here, people compare the fingerprint.
const certificateYears = 20

// certificateName is in each certificate, for clients that pin it, whatever address they use.
const certificateName = "muster-agent"

// loadCertificate reads the device's certificate, and makes one when there is none or it is damaged.
// The fingerprint is that of certificate.Fingerprint.
func loadCertificate(dataDir string, log *slog.Logger) (cert tls.Certificate, fingerprint string, err error) {
	path := filepath.Join(dataDir, certificateFile)
	text, err := os.ReadFile(path)
	if err == nil {
		if cert, err = tls.X509KeyPair(text, text); err == nil && time.Now().Before(cert.Leaf.NotAfter) {
			return cert, certificate.Fingerprint(cert.Leaf), nil
		}
		log.Warn("the local listener's certificate is damaged or has ended; a new one is made", logging.Path, path, logging.Err, err)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return cert, "", fmt.Errorf("read the local listener's certificate: %w", err)
	}
	if text, err = makeCertificate(time.Now()); err != nil {
		return cert, "", fmt.Errorf("make a certificate for the local listener: %w", err)
	}
	if err := atomicfile.Write(path, text, 0o600); err != nil {
		return cert, "", fmt.Errorf("keep the local listener's certificate: %w", err)
	}
	if cert, err = tls.X509KeyPair(text, text); err != nil {
		return cert, "", fmt.Errorf("use the local listener's certificate: %w", err)
	}
	return cert, certificate.Fingerprint(cert.Leaf), nil
}

// makeCertificate makes a key and a certificate that it signs itself, as PEM.
func makeCertificate(now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: certificateName}, DNSNames: append(hostNames(), certificateName),
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(certificateYears, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...), nil
}
