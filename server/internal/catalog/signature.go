package catalog

import (
	"context"
	"strings"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

// Partial is an instruction that waits for more authors to sign it.
type Partial struct {
	SignedBy  []string // key ids
	Needed    int
	ExpiresAt time.Time
}

// PutInstruction takes an instruction that an author signed. It must say what the server's own cut says.
// When more authors must sign, it is kept until they have: the package stays as it was meanwhile.
func (s *Service) PutInstruction(ctx context.Context, id string, envelope []byte) (Package, error) {
	row, err := s.signable(ctx, id)
	if err != nil {
		return Package{}, err
	}
	s.collect.Lock()
	defer s.collect.Unlock()
	theirs, keys, err := s.trust.VerifyInstruction(envelope)
	if instruction.ReasonOf(err) == protocol.ReasonThreshold {
		if envelope, err = s.together(ctx, id, envelope); err != nil {
			return Package{}, err
		}
		theirs, keys, err = s.trust.VerifyInstruction(envelope)
	}
	complete := err == nil
	if instruction.ReasonOf(err) == protocol.ReasonThreshold {
		theirs, _, _, err = s.trust.PartlySigned(envelope)
	}
	if err != nil {
		return Package{}, err
	}
	if err := s.compare(ctx, row, theirs); err != nil {
		return Package{}, err
	}
	if complete {
		return s.keepSigned(ctx, id, theirs, envelope, keys)
	}
	digest, err := s.blobs.Keep(ctx, envelope)
	if err != nil {
		return Package{}, err
	}
	if row, err = s.rows.keepPartial(ctx, id, digest, int64(len(envelope)), s.now()); err != nil {
		return Package{}, err
	}
	s.changed(ctx, id, "")
	return row.toPackage()
}

// compare makes sure that a signed instruction is the server's own cut of the package, and not expired.
func (s *Service) compare(ctx context.Context, row *packageRow, theirs *instruction.Instruction) error {
	own, err := s.instruction(ctx, row, row.CreatedAt, 0)
	if err != nil {
		return err
	}
	if diff := instruction.Differences(own, theirs); len(diff) > 0 {
		return fault.New(fault.Untrusted, "the signed instruction differs from the server's own in %s: was it made from the same file and settings?", strings.Join(diff, ", "))
	}
	if trust.Expired(theirs, s.now()) {
		return fault.New(fault.Invalid, "the signed instruction expired at %s: sign it again", theirs.ExpiresAt.Format(time.RFC3339))
	}
	return nil
}

// together adds the signatures that were handed in before, if they are of the same instruction.
func (s *Service) together(ctx context.Context, id string, envelope []byte) ([]byte, error) {
	before, err := s.partial(ctx, id)
	if err != nil || before == nil {
		return envelope, err
	}
	both, err := trust.MergeInstruction(before, envelope)
	if fault.Is(err, fault.Conflict) {
		return envelope, nil // somebody began anew
	}
	return both, err
}

// partial is the envelope that waits for more signatures, nil without one.
func (s *Service) partial(ctx context.Context, id string) ([]byte, error) {
	digests, err := s.rows.partials(ctx, []string{id})
	if err != nil || digests[id] == "" {
		return nil, err
	}
	return s.envelope(ctx, digests[id])
}

// partials describes what waits for more signatures, by package. What no author of today has signed is
// left out.
func (s *Service) partials(ctx context.Context, ids []string) (map[string]*Partial, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	digests, err := s.rows.partials(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := map[string]*Partial{}
	for id, digest := range digests {
		envelope, err := s.envelope(ctx, digest)
		if err != nil {
			return nil, err
		}
		if i, keys, needed, err := s.trust.PartlySigned(envelope); err == nil {
			out[id] = &Partial{SignedBy: keys, Needed: needed, ExpiresAt: i.ExpiresAt}
		}
	}
	return out, nil
}

// Refusal says why devices would refuse a package's signature today, empty when they would not, or when
// there is none. An instruction that is revoked by its digest alone is not recognized here.
func (s *Service) Refusal(p Package) protocol.Reason {
	if !p.Signed() {
		return ""
	}
	return s.trust.Judge(p.SignedBy, p.ID)
}
