package trust

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster/muster/packages/fault"
)

// Change is what a next document does differently.
type Change struct {
	Add        []Key        // whole keys; one that is there already is a conflict
	Remove     []string     // key ids
	Thresholds map[Role]int // of these roles
	Revoke     []string     // as in Document.Revoked
}

// Next is the document that follows d with the change, not yet signed. Nothing is ever taken from
// Revoked. The result is valid; that nothing would change is a fault of code conflict, a key to remove
// that is not there of code not_found.
func (d *Document) Next(c Change, now time.Time) (*Document, error) {
	next := &Document{
		Format: Format, Version: d.Version + 1, IssuedAt: now.UTC().Truncate(time.Second),
		Keys: slices.Clone(d.Keys), Thresholds: map[Role]int{}, Revoked: slices.Clone(d.Revoked),
	}
	for _, id := range c.Remove {
		at := slices.IndexFunc(next.Keys, func(k Key) bool { return k.ID == id })
		if at < 0 {
			return nil, fault.New(fault.NotFound, "the key %.64q is not in the trust document", id)
		}
		next.Keys = slices.Delete(next.Keys, at, at+1)
	}
	for _, k := range c.Add {
		if _, there := next.Key(k.ID); there {
			return nil, fault.New(fault.Conflict, "the key %s is in the trust document already", k.ID)
		}
		next.Keys = append(next.Keys, k)
	}
	for _, r := range Roles() {
		n, given := c.Thresholds[r]
		if !given {
			n = d.Thresholds[r]
		}
		// One is what a role needs without being told, and a role without keys needs no number.
		if given && n < 1 || n > 1 && (given || len(next.withRole(r)) > 0) {
			next.Thresholds[r] = n
		}
	}
	if len(next.Thresholds) == 0 {
		next.Thresholds = nil // as it is read again
	}
	known := set(next.Revoked)
	for _, name := range c.Revoke {
		if !known[name] {
			known[name] = true
			next.Revoked = append(next.Revoked, name)
		}
	}
	if err := next.Validate(); err != nil {
		return nil, err
	}
	if len(Differences(d, next)) == 0 {
		return nil, fault.New(fault.Conflict, "nothing would change: trust document %d says all that already", d.Version)
	}
	return next, nil
}

// TakeOver is the change that takes trust away from a server: every root key and every key with the
// role server goes, root signs trust documents and author signs packages from then on.
func TakeOver(d *Document, root, author ed25519.PublicKey) Change {
	var c Change
	for _, k := range d.withRole(RoleRoot, RoleServer) {
		c.Remove = append(c.Remove, k.ID)
	}
	c.Add = []Key{{ID: KeyID(root), Public: root, Roles: []Role{RoleRoot}}}
	if k, ok := d.Key(KeyID(author)); !ok || !k.Has(RoleAuthor) || k.Has(RoleRoot) || k.Has(RoleServer) {
		c.Add = append(c.Add, Key{ID: KeyID(author), Public: author, Roles: []Role{RoleAuthor}})
	}
	c.Thresholds = map[Role]int{RoleRoot: 1}
	return c
}

// Differences says for people, line by line, how one document differs from another beside version and
// issue time. It compares the documents themselves: whoever signs the second sees all that it does.
func Differences(before, after *Document) []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, k := range before.Keys {
		now, there := after.Key(k.ID)
		switch {
		case !there:
			add("remove key %s (%s)", k.ID, roleList(k.Roles))
		case !slices.Equal(k.Roles, now.Roles):
			add("key %s: %s, before: %s", k.ID, roleList(now.Roles), roleList(k.Roles))
		}
	}
	for _, k := range after.Keys {
		if _, there := before.Key(k.ID); !there {
			add("add key    %s (%s)", k.ID, roleList(k.Roles))
		}
	}
	for _, r := range Roles() {
		if b, a := before.Threshold(r), after.Threshold(r); a != b {
			add("needed %s signatures: %d, before: %d", r, a, b)
		}
	}
	was, is := set(before.Revoked), set(after.Revoked)
	for _, name := range after.Revoked {
		if !was[name] {
			add("revoke %s", name)
		}
	}
	for _, name := range before.Revoked {
		if !is[name] {
			add("NO LONGER revoke %s", name)
		}
	}
	return lines
}

// set makes lists of thousands comparable.
func set(names []string) map[string]bool {
	s := make(map[string]bool, len(names))
	for _, n := range names {
		s[n] = true
	}
	return s
}

func roleList(roles []Role) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return strings.Join(words, ", ")
}

// Propose writes the document as an envelope that nobody has signed yet, for Cosign.
func (d *Document) Propose() ([]byte, error) {
	payload, err := d.encode()
	if err != nil {
		return nil, err
	}
	return encodeEnvelope(unsigned(PayloadType, payload))
}

func (d *Document) encode() ([]byte, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("check trust document: %w", err)
	}
	payload, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode trust document: %w", err)
	}
	if len(payload) > MaxBytes {
		return nil, fault.New(fault.TooLarge, "the trust document is %d bytes long, %d are allowed", len(payload), MaxBytes)
	}
	return payload, nil
}

// Read decodes an envelope's document and says which of the document's own and of before's roots have
// signed it, each once. It is for showing a document that is not complete yet: nothing is decided by it.
func Read(envelope []byte, before *Document) (d *Document, signedBy []string, err error) {
	_, payload, err := openEnvelope(PayloadType, envelope, MaxEnvelope)
	if err != nil {
		return nil, nil, asTrust(err)
	}
	if d, err = decodeDocument(payload); err != nil {
		return nil, nil, err
	}
	roots := d.withRole(RoleRoot)
	if before != nil {
		for _, k := range before.withRole(RoleRoot) {
			if !slices.ContainsFunc(roots, func(r Key) bool { return r.ID == k.ID }) {
				roots = append(roots, k)
			}
		}
	}
	if _, signedBy, err = verify(PayloadType, envelope, MaxEnvelope, roots); err != nil {
		signedBy = nil
	}
	return d, signedBy, nil
}
