package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/trust"
)

// Create makes a draft of a spec, whose id is given by the catalog, and the archive of a finished
// upload, if there is one.
func (s *Service) Create(ctx context.Context, spec instruction.Spec, uploadID string) (Package, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Package{}, fmt.Errorf("make package id: %w", err)
	}
	spec.ID = ""
	data, err := json.Marshal(spec)
	if err != nil {
		return Package{}, fmt.Errorf("save package: %w", err)
	}
	now := s.now()
	row := &packageRow{
		ID: id.String(), Name: spec.Name, Version: spec.Version, LiveKey: liveKey(spec.Name, spec.Version),
		Priority: Package{Spec: spec}.Priority(), Action: string(spec.Action), State: string(Draft), Spec: string(data),
		Private:   spec.Private,
		CreatedBy: s.actor(ctx), CreatedAt: now, UpdatedAt: now,
	}
	spec.ID = row.ID
	err = s.rows.create(ctx, row, uploadID, func(archive *instruction.Archive) error {
		i, err := instruction.Build(spec, archive, now, 0)
		if err != nil {
			return bodyFields(err)
		}
		_, err = i.Encode() // may be too large as a whole
		return err
	})
	if err != nil {
		return Package{}, err
	}
	s.changed(ctx, row.ID, "")
	return row.toPackage()
}

// bodyFields names the fields of an instruction as those of the request's body.
func bodyFields(err error) error {
	joined, ok := err.(interface{ Unwrap() []error }) // Validate joins its problems
	if !ok {
		return err
	}
	var list []error
	for _, e := range joined.Unwrap() {
		var f *fault.Error
		if !errors.As(e, &f) || f.Field == "" {
			list = append(list, e)
			continue
		}
		field := f.Field
		if strings.HasPrefix(field, "archive") {
			field = "upload_id" // where the archive comes from
		}
		list = append(list, fault.Field("body."+field, "%s", f.Msg))
	}
	return errors.Join(list...)
}

// Sign signs a package with the server's key; validFor 0 is the default expiry. Signing again renews it.
func (s *Service) Sign(ctx context.Context, id string, validFor time.Duration) (Package, error) {
	row, err := s.signable(ctx, id)
	if err != nil {
		return Package{}, err
	}
	i, err := s.instruction(ctx, row, s.now(), validFor)
	if err != nil {
		return Package{}, err
	}
	newest, err := s.rows.newestSerial(ctx, row.Name)
	if err != nil {
		return Package{}, err
	}
	i.Serial = max(i.Serial, newest) // the server's clock may have gone back
	envelope, keys, err := s.trust.SignInstruction(i)
	if err != nil {
		return Package{}, err
	}
	return s.keepSigned(ctx, id, i, envelope, keys)
}

// signable reads a package that may be signed. The state is checked again where it is changed.
func (s *Service) signable(ctx context.Context, id string) (*packageRow, error) {
	row, err := s.rows.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if row.State == string(Retired) {
		return nil, errState(row, "it cannot be signed any more")
	}
	return row, nil
}

// keepSigned stores the envelope and then refers to it.
func (s *Service) keepSigned(ctx context.Context, id string, i *instruction.Instruction, envelope []byte, keys []string) (Package, error) {
	digest, err := s.blobs.Keep(ctx, envelope)
	if err != nil {
		return Package{}, err
	}
	row, err := s.rows.sign(ctx, id, signed{i: i, digest: digest, length: int64(len(envelope)), keys: keys}, s.now())
	if err != nil {
		return Package{}, err
	}
	s.tell(ctx, row, EventSigned)
	return row.toPackage()
}

// Activate makes a signed package assignable. Its signature is checked once more as a device will: the
// trust document may have changed since.
func (s *Service) Activate(ctx context.Context, id string) (Package, error) {
	row, err := s.rows.find(ctx, id)
	if err != nil {
		return Package{}, err
	}
	if row.State == string(Draft) && row.InstructionDigest != "" {
		if err := s.checkSigned(ctx, row); err != nil {
			return Package{}, err
		}
	}
	row, before, err := s.rows.activate(ctx, id, row.InstructionDigest, s.now())
	if err != nil {
		return Package{}, err
	}
	if before != row.State {
		s.tell(ctx, row, EventActivated)
	}
	return row.toPackage()
}

func (s *Service) checkSigned(ctx context.Context, row *packageRow) error {
	envelope, err := s.envelope(ctx, row.InstructionDigest)
	if err != nil {
		return err
	}
	i, _, err := s.trust.VerifyInstruction(envelope)
	if err != nil {
		return fault.Wrap(err, fault.Conflict, "the signature of %s %s is not trusted any more: sign it again", row.Name, row.Version)
	}
	if trust.Expired(i, s.now()) {
		return fault.New(fault.Conflict, "the signature of %s %s expired at %s: sign it again", row.Name, row.Version, i.ExpiresAt.Format(time.RFC3339))
	}
	newest, err := s.rows.newestSerial(ctx, row.Name)
	if err != nil {
		return err
	}
	if i.Serial < newest {
		return fault.New(fault.Conflict, "another version of %s was signed after %s, and devices never go back: sign %s again", row.Name, row.Version, row.Version)
	}
	return nil
}

// Retire takes a package back: nobody is offered it any more, and its archive is freed.
func (s *Service) Retire(ctx context.Context, id string) (Package, error) {
	row, before, err := s.rows.retire(ctx, id, s.now())
	if err != nil {
		return Package{}, err
	}
	if before != row.State {
		s.tell(ctx, row, EventRetired)
	}
	return row.toPackage()
}

// Delete removes a draft.
func (s *Service) Delete(ctx context.Context, id string) error {
	if err := s.rows.delete(ctx, id, s.now()); err != nil {
		return err
	}
	s.changed(ctx, id, "")
	return nil
}

// tell logs a change and spreads it.
func (s *Service) tell(ctx context.Context, row *packageRow, kind string) {
	s.log.InfoContext(ctx, "package changed", "kind", kind, "package", row.ID, "name", row.Name, "version", row.Version, "serial", row.Serial)
	s.changed(ctx, row.ID, kind)
}
