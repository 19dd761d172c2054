package identity

import (
	"encoding/json"
	"fmt"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/trust"
)

// chain is the content of trust.json: every trust document since the first, so that the present one can
// be verified from the root key's fingerprint at each start.
type chain struct {
	Envelopes []json.RawMessage `json:"envelopes"`
}

// LoadTrust verifies the stored chain from the root key and returns the newest document. No document is
// a fault of code untrusted: without one nothing may run.
func (s *Store) LoadTrust(rootKeyID string) (*trust.Document, error) {
	var c chain
	found, err := s.read(trustFile, &c)
	if err != nil {
		return nil, err
	}
	if !found || len(c.Envelopes) == 0 {
		return nil, fault.New(fault.Untrusted, "no trust document of server %q is stored: enroll again", s.name)
	}
	doc, err := trust.VerifyChain(rootKeyID, nil, raw(c.Envelopes))
	if err != nil {
		return nil, fmt.Errorf("verify the stored trust documents of server %q: %w", s.name, err)
	}
	return doc, nil
}

// AcceptTrust verifies envelopes that a server sent against the stored chain, appends those that are
// new, persists the chain and only then returns the newest document.
func (s *Store) AcceptTrust(rootKeyID string, envelopes []json.RawMessage) (*trust.Document, error) {
	var c chain
	if _, err := s.read(trustFile, &c); err != nil {
		return nil, err
	}
	var current *trust.Document
	if len(c.Envelopes) > 0 {
		var err error
		if current, err = trust.VerifyChain(rootKeyID, nil, raw(c.Envelopes)); err != nil {
			return nil, fmt.Errorf("verify the stored trust documents of server %q: %w", s.name, err)
		}
	}
	if len(envelopes) == 0 {
		if current == nil {
			return nil, fault.New(fault.Untrusted, "server %q sent no trust document", s.name)
		}
		return current, nil
	}
	next, err := trust.VerifyChain(rootKeyID, current, raw(envelopes))
	if err != nil {
		return nil, fmt.Errorf("verify the trust documents that server %q sent: %w", s.name, err)
	}
	if current != nil && next.Version <= current.Version {
		return current, nil
	}
	c.Envelopes = append(c.Envelopes, envelopes...)
	if err := s.write(trustFile, c); err != nil {
		return nil, err
	}
	return next, nil
}

func raw(list []json.RawMessage) [][]byte {
	out := make([][]byte, len(list))
	for n, e := range list {
		out[n] = e
	}
	return out
}
