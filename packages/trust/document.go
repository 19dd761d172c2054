package trust

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/packages/strictjson"
)

// PayloadType is the DSSE payload type of a trust document.
const PayloadType = "application/vnd.muster.trust.v1+json"

// Format is the version of the document that this package writes and reads.
const Format = 1

// Limits of a document.
const (
	MaxBytes    = 1 << 20 // payload
	MaxEnvelope = 3 << 19
	MaxKeys     = 64
	MaxRevoked  = 10_000
)

// Document is the trust document, format 1.
type Document struct {
	Format   int       `json:"format"`
	Version  int       `json:"version"` // from 1, grows
	IssuedAt time.Time `json:"issued_at"`
	Keys     []Key     `json:"keys"`
	// Thresholds say how many different keys of a role must sign; a role without one needs one.
	Thresholds map[Role]int `json:"thresholds,omitempty"`
	// Revoked names what must not run: the SHA-256 of the payload of an instruction or a release, or the id
	// of a package or a release.
	Revoked []string `json:"revoked,omitempty"`
}

// Validate returns all problems joined, each a fault with the field's name, or nil.
func (d *Document) Validate() error {
	var list []error
	add := func(field, format string, args ...any) { list = append(list, fault.Field(field, format, args...)) }
	if d.Format != Format {
		add("format", "the format is %d, it must be %d", d.Format, Format)
	}
	if d.Version < 1 {
		add("version", "the version %d is below 1", d.Version)
	}
	if d.IssuedAt.IsZero() {
		add("issued_at", "the issue time is missing")
	}
	if len(d.Keys) > MaxKeys {
		add("keys", "%d keys are more than %d", len(d.Keys), MaxKeys)
	}
	seen := map[string]bool{}
	for n, k := range d.Keys {
		field := fmt.Sprintf("keys[%d]", n)
		if err := k.check(field); err != nil {
			list = append(list, err)
		}
		if seen[k.ID] {
			add(field, "the key %.64q is listed twice", k.ID)
		}
		seen[k.ID] = true
	}
	if len(d.withRole(RoleRoot)) == 0 {
		add("keys", "there is no root key")
	}
	for role, n := range d.Thresholds {
		if !slices.Contains(Roles(), role) {
			add("thresholds", "%.40q is not a role", string(role))
		} else if have := len(d.withRole(role)); n < 1 || n > max(have, 1) {
			add("thresholds", "the threshold %d for %s is not between 1 and its %d keys", n, role, have)
		}
	}
	if len(d.Revoked) > MaxRevoked {
		add("revoked", "%d revocations are more than %d", len(d.Revoked), MaxRevoked)
	}
	for n, r := range d.Revoked {
		if !protocol.IsSHA256(r) && len(r) != 36 {
			add(fmt.Sprintf("revoked[%d]", n), "%.80q is neither a SHA-256 digest nor a package id", r)
		}
	}
	return errors.Join(list...)
}

func (k Key) check(field string) error {
	if len(k.Public) != ed25519.PublicKeySize {
		return fault.Field(field+".public", "the public key has %d bytes, not %d", len(k.Public), ed25519.PublicKeySize)
	}
	if k.ID != KeyID(k.Public) {
		return fault.Field(field+".id", "the id %.64q is not that of the public key", k.ID)
	}
	if len(k.Roles) == 0 {
		return fault.Field(field+".roles", "the key has no role")
	}
	for n, r := range k.Roles {
		if !slices.Contains(Roles(), r) || slices.Contains(k.Roles[:n], r) {
			return fault.Field(field+".roles", "the role %.40q is unknown or there twice", string(r))
		}
	}
	return nil
}

// withRole lists the keys that have one of the roles.
func (d *Document) withRole(roles ...Role) []Key {
	var keys []Key
	for _, k := range d.Keys {
		if slices.ContainsFunc(roles, k.Has) {
			keys = append(keys, k)
		}
	}
	return keys
}

// Key finds a key by its id.
func (d *Document) Key(id string) (Key, bool) {
	for _, k := range d.Keys {
		if k.ID == id {
			return k, true
		}
	}
	return Key{}, false
}

// Threshold is how many different keys of the role must sign.
func (d *Document) Threshold(r Role) int {
	return max(d.Thresholds[r], 1)
}

// count says how many of the ids are keys of this document with the role.
func (d *Document) count(r Role, ids []string) int {
	n := 0
	for _, id := range ids {
		if k, ok := d.Key(id); ok && k.Has(r) {
			n++
		}
	}
	return n
}

// Sign writes the document as an envelope signed with the keys. It must be valid.
func (d *Document) Sign(keys ...PrivateKey) ([]byte, error) {
	payload, err := d.encode()
	if err != nil {
		return nil, err
	}
	return SignEnvelope(PayloadType, payload, keys...)
}

// decodeDocument reads a payload, strictly.
func decodeDocument(payload []byte) (*Document, error) {
	if len(payload) > MaxBytes {
		return nil, instruction.Refuse(protocol.ReasonTrust, "the trust document is %d bytes long, %d are allowed", len(payload), MaxBytes)
	}
	var d Document
	if err := strictjson.Decode(payload, &d); err != nil {
		return nil, instruction.Refuse(protocol.ReasonTrust, "the trust document is malformed: %v", err)
	}
	if err := d.Validate(); err != nil {
		return nil, instruction.Refuse(protocol.ReasonTrust, "the trust document is not valid: %v", err)
	}
	return &d, nil
}

// VerifyInstruction checks the envelope's size, payload type and signatures against the document and
// decodes exactly the verified bytes. It accepts what enough author keys, or enough server keys, have
// signed and what is not revoked, and returns the ids of the keys whose signatures counted. Expiry is
// not checked here: it counts once, right before the command starts (Expired).
func (d *Document) VerifyInstruction(envelope []byte) (*instruction.Instruction, []string, error) {
	payload, ids, err := verify(instruction.PayloadType, envelope, instruction.MaxEnvelope, d.withRole(RoleAuthor, RoleServer))
	if err != nil {
		return nil, nil, d.wrongRole(instruction.PayloadType, envelope, err)
	}
	authors, servers := d.count(RoleAuthor, ids), d.count(RoleServer, ids)
	if authors < d.Threshold(RoleAuthor) && servers < d.Threshold(RoleServer) {
		return nil, nil, instruction.Refuse(protocol.ReasonThreshold, "%d author and %d server signatures are valid; needed are %d or %d",
			authors, servers, d.Threshold(RoleAuthor), d.Threshold(RoleServer))
	}
	i, err := instruction.Decode(payload)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(payload)
	if d.IsRevoked(hex.EncodeToString(sum[:]), i.ID) {
		return nil, nil, instruction.Refuse(protocol.ReasonRevoked, "the instruction of %s %s is revoked by trust document %d", i.Name, i.Version, d.Version)
	}
	return i, ids, nil
}

// PartlySigned decodes an instruction that authors have signed, be they enough or not yet, and says who
// did. It is for collecting signatures; VerifyInstruction decides.
func (d *Document) PartlySigned(envelope []byte) (*instruction.Instruction, []string, error) {
	payload, ids, err := verify(instruction.PayloadType, envelope, instruction.MaxEnvelope, d.withRole(RoleAuthor))
	if err != nil {
		return nil, nil, err
	}
	i, err := instruction.Decode(payload)
	return i, ids, err
}

// Judge says why an instruction whose valid signatures are of these keys would be refused, without
// reading it again; empty when it would not. names are what it may be revoked by.
func (d *Document) Judge(ids []string, names ...string) protocol.Reason {
	authors, servers := d.count(RoleAuthor, ids), d.count(RoleServer, ids)
	switch {
	case d.IsRevoked(names...):
		return protocol.ReasonRevoked
	case authors >= d.Threshold(RoleAuthor) || servers >= d.Threshold(RoleServer):
		return ""
	case authors > 0 || servers > 0:
		return protocol.ReasonThreshold
	default:
		return protocol.ReasonSignature
	}
}

// VerifyRelease does for a release what VerifyInstruction does for an instruction: it accepts what enough
// release keys have signed and what is not revoked, by the digest of its payload or its id. Expiry is not
// checked here: it counts when an update begins (Release.Expired).
func (d *Document) VerifyRelease(envelope []byte) (*release.Release, []string, error) {
	payload, ids, err := verify(release.PayloadType, envelope, release.MaxEnvelope, d.withRole(RoleRelease))
	if err != nil {
		return nil, nil, d.wrongRole(release.PayloadType, envelope, err)
	}
	if n := d.count(RoleRelease, ids); n < d.Threshold(RoleRelease) {
		return nil, nil, instruction.Refuse(protocol.ReasonThreshold, "%d release signatures are valid; needed are %d", n, d.Threshold(RoleRelease))
	}
	r, err := release.Decode(payload)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(payload)
	if d.IsRevoked(hex.EncodeToString(sum[:]), r.ID) {
		return nil, nil, instruction.Refuse(protocol.ReasonRevoked, "the release %s is revoked by trust document %d", r.Version, d.Version)
	}
	return r, ids, nil
}

// JudgeRelease does for a release what Judge does for an instruction.
func (d *Document) JudgeRelease(ids []string, names ...string) protocol.Reason {
	n := d.count(RoleRelease, ids)
	switch {
	case d.IsRevoked(names...):
		return protocol.ReasonRevoked
	case n >= d.Threshold(RoleRelease):
		return ""
	case n > 0:
		return protocol.ReasonThreshold
	default:
		return protocol.ReasonSignature
	}
}

// wrongRole turns the refusal of what a key of another role has signed into one that says so: that is a
// mistake of an author more often than an attack.
func (d *Document) wrongRole(payloadType string, envelope []byte, err error) error {
	if instruction.ReasonOf(err) != protocol.ReasonSignature {
		return err
	}
	_, ids, other := verify(payloadType, envelope, limitOf(payloadType), d.Keys)
	if other != nil {
		return err
	}
	rule := "packages are signed by author keys"
	if payloadType == release.PayloadType {
		rule = "releases are signed by release keys"
	}
	k, _ := d.Key(ids[0])
	return instruction.Refuse(protocol.ReasonRole, "the key %s signed this, but its role is %q: %s", k.ID, k.Roles, rule)
}

// IsRevoked reports whether a payload digest or package id is revoked.
func (d *Document) IsRevoked(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(d.Revoked, n) })
}

// IsRevokedAll reports whether every one of the names is revoked.
func (d *Document) IsRevokedAll(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(d.Revoked, n) })
}

// Expired reports whether an instruction may no longer be started at the given time.
func Expired(i *instruction.Instruction, now time.Time) bool { return !now.Before(i.ExpiresAt) }
