package trust

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
)

const (
	pemType    = "PRIVATE KEY"
	maxKeyFile = 16 << 10
)

// PrivateKey signs. Its zero value is no key. Printing it shows the id, never the secret.
type PrivateKey struct {
	id  string
	key ed25519.PrivateKey
}

// GenerateKey makes a new key.
func GenerateKey() (PrivateKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("generate key: %w", err)
	}
	return PrivateKey{id: KeyID(public), key: private}, nil
}

// ID is the KeyID of the public half; empty for the zero value.
func (k PrivateKey) ID() string { return k.id }

// PublicKey is the public half.
func (k PrivateKey) PublicKey() ed25519.PublicKey {
	return k.key.Public().(ed25519.PublicKey) //nolint:forcetypeassert // always this type
}

// Entry is the public half with roles, for a trust document.
func (k PrivateKey) Entry(roles ...Role) Key {
	return Key{ID: k.id, Public: k.PublicKey(), Roles: roles}
}

// String names the key without its secret.
func (k PrivateKey) String() string { return "private key " + k.id }

// GoString keeps the secret out of %#v.
func (k PrivateKey) GoString() string { return k.String() }

// MarshalPEM writes the key as PKCS#8 in PEM. The bytes are secret.
func (k PrivateKey) MarshalPEM() ([]byte, error) {
	if k.id == "" {
		return nil, fault.New(fault.Invalid, "there is no key to write")
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}

// ParsePEM reads what MarshalPEM wrote. Nothing may follow it.
func ParsePEM(data []byte) (PrivateKey, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != pemType || len(rest) > 0 {
		return PrivateKey{}, fault.New(fault.Invalid, "not a private key: exactly one PEM block %q is expected", pemType)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return PrivateKey{}, fault.New(fault.Invalid, "the private key is damaged or not PKCS#8")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return PrivateKey{}, fault.New(fault.Invalid, "the private key is not an Ed25519 key")
	}
	k := PrivateKey{key: key}
	k.id = KeyID(k.PublicKey())
	return k, nil
}

// SaveKey writes the key to a new file of mode 0600. An existing file is never replaced: it may be the
// only copy of another key.
func SaveKey(path string, k PrivateKey) error {
	if _, err := os.Lstat(path); err == nil {
		return fault.New(fault.Conflict, "%s exists: choose another name, keys are never overwritten", path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for key file: %w", err)
	}
	data, err := k.MarshalPEM()
	if err != nil {
		return err
	}
	if err := atomicfile.Write(path, data, 0o600); err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	return nil
}

// DeleteKey deletes a key file for good, as far as a program can: it is overwritten, unlinked, and the
// directory is on disk when this returns; so are leftovers of a write of it that a crash cut off. What
// snapshots, backups and worn flash cells hold is out of reach. A missing file is no error.
func DeleteKey(path string) error {
	dir := filepath.Dir(path)
	names, err := fs.Glob(os.DirFS(dir), "."+filepath.Base(path)+".*.tmp") // dir itself may look like a pattern
	if err != nil {
		return fmt.Errorf("look for leftovers of key file: %w", err)
	}
	for _, name := range append(names, filepath.Base(path)) {
		if err := wipe(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("delete key file: %w", err)
		}
	}
	return atomicfile.SyncDir(dir)
}

func wipe(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, min(info.Size(), maxKeyFile)), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Remove(path)
}

// LoadKey reads a key file. On systems with POSIX modes a file that others may read is refused: its
// secret must be taken as known. A missing file is errors.Is fs.ErrNotExist.
func LoadKey(path string) (PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("open key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("open key file: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return PrivateKey{}, fault.New(fault.Untrusted, "%s has mode %#o, others may read it: set 0600, and replace the key if it was ever shared", path, info.Mode().Perm())
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return PrivateKey{}, fault.New(fault.Invalid, "%s is not a key file", path)
	}
	data := make([]byte, info.Size())
	if _, err := f.ReadAt(data, 0); err != nil {
		return PrivateKey{}, fmt.Errorf("read key file: %w", err)
	}
	k, err := ParsePEM(data)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read key file %s: %w", path, err)
	}
	return k, nil
}

// signer and verifier adapt keys to package dsse.
type signer struct{ k PrivateKey }

func (s signer) Sign(_ context.Context, data []byte) ([]byte, error) {
	return ed25519.Sign(s.k.key, data), nil
}
func (s signer) KeyID() (string, error) { return s.k.id, nil }

type verifier struct{ k Key }

var errSignature = errors.New("the signature does not verify")

func (v verifier) Verify(_ context.Context, data, sig []byte) error {
	if len(v.k.Public) != ed25519.PublicKeySize || !ed25519.Verify(v.k.Public, data, sig) {
		return errSignature
	}
	return nil
}
func (v verifier) KeyID() (string, error)   { return v.k.ID, nil }
func (v verifier) Public() crypto.PublicKey { return ed25519.PublicKey(v.k.Public) }
