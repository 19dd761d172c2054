package identity

import (
	"encoding/json"
	"fmt"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/trust"
)

// chain is the content of trust.json: the trust documents that lead from the root key's fingerprint to
// the present one, so that it can be verified from there at each start. What is not needed for that is
// left out: the file grows with changes of the root keys only.
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

// AcceptTrust verifies envelopes that a server sent against the stored chain, persists what is needed of
// both and only then returns the newest document.
func (s *Store) AcceptTrust(rootKeyID string, envelopes []json.RawMessage) (*trust.Document, error) {
	var c chain
	if _, err := s.read(trustFile, &c); err != nil {
		return nil, err
	}
	links, err := trust.Follow(rootKeyID, nil, raw(c.Envelopes))
	if err != nil {
		return nil, fmt.Errorf("verify the stored trust documents of server %q: %w", s.name, err)
	}
	var current *trust.Document
	if len(links) > 0 {
		current = links[len(links)-1].Document
	}
	news, err := trust.Follow(rootKeyID, current, raw(envelopes))
	if err != nil {
		return nil, fmt.Errorf("verify the trust documents that server %q sent: %w", s.name, err)
	}
	switch {
	case len(news) == 0 && current == nil:
		return nil, fault.New(fault.Untrusted, "server %q sent no trust document that the root key %s signed, which came with enrollment", s.name, rootKeyID)
	case len(news) == 0:
		return current, nil
	}
	links = trust.Prune(append(links, news...))
	if size := trust.Size(links); size > trust.MaxChain {
		return nil, fault.New(fault.TooLarge, "the trust documents of server %q would be %d bytes, %d are kept at most", s.name, size, trust.MaxChain)
	}
	c.Envelopes = make([]json.RawMessage, len(links))
	for n, l := range links {
		c.Envelopes[n] = l.Envelope
	}
	if err := s.write(trustFile, c); err != nil {
		return nil, err
	}
	return links[len(links)-1].Document, nil
}

func raw(list []json.RawMessage) [][]byte {
	out := make([][]byte, len(list))
	for n, e := range list {
		out[n] = e
	}
	return out
}
