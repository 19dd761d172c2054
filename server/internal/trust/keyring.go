package trust

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/trust"
)

// Files of the key directory. Keys that are to follow the present ones lie beside them until a document
// names them.
const (
	rootFile   = "root.pem"
	serverFile = "server.pem"
	nextPrefix = "next-"
)

// keyring is the private keys of this server and their files. The zero keys are those of a server that
// has handed them over.
type keyring struct {
	dir          string
	log          *slog.Logger
	root, server trust.PrivateKey
}

func (k *keyring) path(name string) string { return filepath.Join(k.dir, name) }

// make returns the keys of a new server.
func (k *keyring) make() (root, server trust.PrivateKey, err error) {
	if err := atomicfile.MkdirAll(k.dir, 0o700); err != nil {
		return root, server, fmt.Errorf("make key directory: %w", err)
	}
	if root, err = loadOrMake(k.path(rootFile)); err != nil {
		return root, server, err
	}
	server, err = loadOrMake(k.path(serverFile))
	return root, server, err
}

// makeNext makes the keys that shall follow the present ones. Those of a try that was cut off are used.
func (k *keyring) makeNext(withServer bool) (root, server trust.PrivateKey, err error) {
	if root, err = loadOrMake(k.path(nextPrefix + rootFile)); err != nil || !withServer {
		return root, server, err
	}
	server, err = loadOrMake(k.path(nextPrefix + serverFile))
	return root, server, err
}

func loadOrMake(path string) (trust.PrivateKey, error) {
	k, err := loadIfThere(path)
	if err != nil || k.ID() != "" {
		return k, err
	}
	if k, err = trust.GenerateKey(); err != nil {
		return k, err
	}
	return k, trust.SaveKey(path, k)
}

// loadIfThere is the zero key without the file.
func loadIfThere(path string) (trust.PrivateKey, error) {
	k, err := trust.LoadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return trust.PrivateKey{}, nil
	}
	return k, err
}

// settle brings the key files in line with the documents, of which the last is in force, and loads them.
// It can be cut off anywhere and run again.
func (k *keyring) settle(ctx context.Context, history []trust.Link) error {
	var rootErr, serverErr error
	k.root, rootErr = k.settleOne(ctx, rootFile, trust.RoleRoot, history)
	k.server, serverErr = k.settleOne(ctx, serverFile, trust.RoleServer, history)
	return errors.Join(rootErr, serverErr) // one that stays does not keep the other
}

// settleOne deletes a key that the document in force no longer names for its role, and puts the next key
// in its place if the document names that.
func (k *keyring) settleOne(ctx context.Context, file string, role trust.Role, history []trust.Link) (trust.PrivateKey, error) {
	path := k.path(file)
	present, err := loadIfThere(path)
	if err != nil {
		return present, err
	}
	newest := history[len(history)-1].Document
	id := present.ID()
	ours := everNamed(history, id) // else the keys may be of another database: they stay, with no effect
	if ours && !names(newest, id, role) {
		if err := trust.DeleteKey(path); err != nil {
			return trust.PrivateKey{}, err
		}
		k.log.InfoContext(ctx, "deleted a private key that the trust document no longer names", "role", role, "key", id, "document", newest.Version)
		present = trust.PrivateKey{}
	}
	next, err := loadIfThere(k.path(nextPrefix + file))
	if err != nil || next.ID() == "" {
		return present, err
	}
	switch {
	case names(newest, next.ID(), role):
		if err := trust.SaveKey(path, next); err != nil && (!fault.Is(err, fault.Conflict) || present.ID() != next.ID()) {
			return present, err
		}
		present = next
	case !ours:
		return present, nil
	}
	return present, trust.DeleteKey(k.path(nextPrefix + file))
}

// names reports whether the document gives the key the role.
func names(d *trust.Document, id string, role trust.Role) bool {
	k, ok := d.Key(id)
	return ok && k.Has(role)
}

func everNamed(history []trust.Link, id string) bool {
	for _, l := range history {
		if _, ok := l.Document.Key(id); ok {
			return true
		}
	}
	return false
}
