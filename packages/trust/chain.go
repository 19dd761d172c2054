package trust

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// Link is one verified document of a chain.
type Link struct {
	Document *Document
	Envelope []byte
	// signers are those of the document's own roots that signed it.
	signers []string
}

// VerifyChain follows envelopes of trust documents, oldest first, and returns the newest document they
// lead to; see Follow. No document at all is an error.
func VerifyChain(rootKeyID string, current *Document, envelopes [][]byte) (*Document, error) {
	links, err := Follow(rootKeyID, current, envelopes)
	switch {
	case err != nil:
		return nil, err
	case len(links) > 0:
		return links[len(links)-1].Document, nil
	case current != nil:
		return current, nil
	default:
		return nil, instruction.Refuse(protocol.ReasonTrust, "no trust document is signed by the root key %.64s that came with enrollment", rootKeyID)
	}
}

// Follow verifies envelopes of trust documents, oldest first, and returns those that lead on. Without a
// current document the chain starts at the first envelope that the root key of the given id has signed
// and lists as a root; what stands before it belongs to roots from before this device and is skipped.
// With a current one rootKeyID is not looked at: each new version must be signed by the roots of the
// version before it and by its own. Versions that are not newer are skipped. The first document that
// does not verify ends it with an error and nothing of the chain counts.
func Follow(rootKeyID string, current *Document, envelopes [][]byte) ([]Link, error) {
	var links []Link
	for n, envelope := range envelopes {
		next, err := step(rootKeyID, current, envelope)
		if err != nil {
			return nil, fmt.Errorf("verify trust document %d of %d: %w", n+1, len(envelopes), err)
		}
		if next != nil {
			links = append(links, *next)
			current = next.Document
		}
	}
	return links, nil
}

// Signers reads the ids of the roots that an envelope's document lists and that signed it. It is for a
// server that reads its own first document; a device is told by its enrollment string.
func Signers(envelope []byte) ([]string, error) {
	_, payload, err := openEnvelope(PayloadType, envelope, MaxEnvelope)
	if err != nil {
		return nil, asTrust(err)
	}
	d, err := decodeDocument(payload)
	if err != nil {
		return nil, err
	}
	l, err := signedByOwnRoots(d, envelope)
	if err != nil {
		return nil, err
	}
	return l.signers, nil
}

// step verifies one envelope; nil without an error means that it was skipped.
func step(rootKeyID string, before *Document, envelope []byte) (*Link, error) {
	_, payload, err := openEnvelope(PayloadType, envelope, MaxEnvelope)
	if err != nil {
		return nil, asTrust(err)
	}
	if before == nil {
		return first(rootKeyID, envelope, payload)
	}
	// The version is read before it is verified only to skip what has no effect anyway.
	var peek struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(payload, &peek); err == nil && peek.Version <= before.Version {
		return nil, nil
	}
	payload, ids, err := verify(PayloadType, envelope, MaxEnvelope, before.withRole(RoleRoot))
	if err != nil {
		return nil, asTrust(err)
	}
	if have, need := before.count(RoleRoot, ids), before.Threshold(RoleRoot); have < need {
		return nil, instruction.Refuse(protocol.ReasonTrust, "%d of %d needed root keys of version %d signed it", have, need, before.Version)
	}
	next, err := decodeDocument(payload)
	if err != nil {
		return nil, err
	}
	if next.Version <= before.Version {
		return nil, instruction.Refuse(protocol.ReasonTrust, "version %d does not follow version %d", next.Version, before.Version)
	}
	return signedByOwnRoots(next, envelope)
}

// first accepts a document that begins a chain: the pinned root is one of its roots and signed it. One
// that lists the pinned root without its signature (others of several roots signed) is skipped.
func first(rootKeyID string, envelope, payload []byte) (*Link, error) {
	d, err := decodeDocument(payload)
	if err != nil {
		return nil, err
	}
	root, ok := d.Key(rootKeyID)
	if !ok || !root.Has(RoleRoot) {
		return nil, nil
	}
	if _, _, err := verify(PayloadType, envelope, MaxEnvelope, []Key{root}); err != nil {
		return nil, nil //nolint:nilerr // skipped; a chain without any start is an error of its own
	}
	return signedByOwnRoots(d, envelope)
}

// signedByOwnRoots makes sure that whoever holds the new roots agreed: a document with a mistyped root
// would otherwise end the chain for ever.
func signedByOwnRoots(d *Document, envelope []byte) (*Link, error) {
	_, ids, err := verify(PayloadType, envelope, MaxEnvelope, d.withRole(RoleRoot))
	if err != nil {
		return nil, asTrust(err)
	}
	if have, need := d.count(RoleRoot, ids), d.Threshold(RoleRoot); have < need {
		return nil, instruction.Refuse(protocol.ReasonTrust, "%d of %d needed root keys of version %d signed it", have, need, d.Version)
	}
	return &Link{Document: d, Envelope: envelope, signers: ids}, nil
}

// asTrust gives every refusal of a trust document the one reason that devices report for it.
func asTrust(err error) error {
	var r *instruction.Refusal
	if errors.As(err, &r) {
		return &instruction.Refusal{Reason: protocol.ReasonTrust, Err: r.Err}
	}
	return err
}
