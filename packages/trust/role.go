// Package trust decides whose signature counts.
//
// A trust document lists public keys with roles: author keys sign packages, release keys sign agent
// releases, the server key is the convenience key that a new server makes for itself, root keys sign the
// trust document. A device starts from the root key's fingerprint in its enrollment string and follows a
// chain of documents, each signed by the roots of the one before, with growing versions.
//
// Signed bytes travel as DSSE envelopes. Sizes are bounded first, the payload type is compared before
// the payload is decoded, and exactly the verified bytes are parsed, strictly. Every error that is about
// the signed bytes is an instruction.Refusal, so instruction.ReasonOf names it. The package keeps no
// state: callers verify, then persist, then use. Only key files touch the disk, atomically and with mode
// 0600. Agents, servers and the author's tool all call it.
package trust

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// Role is what a key may sign.
type Role string

// The roles.
const (
	RoleAuthor  Role = "author"  // packages
	RoleRelease Role = "release" // agent releases
	RoleServer  Role = "server"  // packages, by the server itself
	RoleRoot    Role = "root"    // trust documents
)

// Roles lists all roles.
func Roles() []Role { return []Role{RoleAuthor, RoleRelease, RoleServer, RoleRoot} }

// Key is a public key and what it may sign.
type Key struct {
	ID     string `json:"id"`     // KeyID of Public
	Public []byte `json:"public"` // raw Ed25519 public key
	Roles  []Role `json:"roles"`
}

// Has reports whether the key has the role.
func (k Key) Has(r Role) bool { return slices.Contains(k.Roles, r) }

// KeyID names a public key: lower-case hex SHA-256 of its 32 raw bytes.
func KeyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:])
}
