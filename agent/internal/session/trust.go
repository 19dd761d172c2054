package session

import (
	"encoding/json"
	"fmt"

	"github.com/muster/muster/packages/logging"
)

// acceptTrust takes over newer trust documents, and reports whether there were any. Refused ones leave
// the document before in force, for deciding; but a server that sends them may have been asked to revoke
// what it offers, so nothing is begun until it sends none or good ones.
func (s *Session) acceptTrust(envelopes []json.RawMessage) (newer bool, err error) {
	if len(envelopes) == 0 {
		return false, nil
	}
	s.mu.Lock()
	root, have := s.id.RootKeyID, s.trust
	s.mu.Unlock()
	doc, err := s.o.Store.AcceptTrust(root, envelopes)
	if err != nil {
		s.log.Error("the server's trust document is refused; the one before stays in force, and nothing is begun", logging.Err, err)
		return false, fmt.Errorf("the server's trust document is refused: %w", err)
	}
	if doc.Version != have {
		s.log.Info("trust document accepted", "version", doc.Version)
	}
	s.mu.Lock()
	s.trust = doc.Version
	s.mu.Unlock()
	return doc.Version != have, nil
}
