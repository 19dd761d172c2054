package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/muster/muster/packages/instruction"
)

// Query narrows a list of packages.
type Query struct {
	Search string // in name and version, whatever the case
	State  State  // empty for all
	After  string // id of the last package seen; empty for the first page
	Limit  int
}

// List lists packages, newest first.
func (s *Service) List(ctx context.Context, q Query) ([]Package, error) {
	found, err := s.rows.list(ctx, q.Search, string(q.State), q.After, q.Limit)
	if err != nil {
		return nil, err
	}
	list := make([]Package, 0, len(found))
	for n := range found {
		p, err := found[n].toPackage()
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// FragmentShared reports whether anybody may fetch the fragment: its digest is the capability then, so
// that mirrors and neighbours can serve it. Fragments of private packages, of drafts and of uploads are
// for devices only.
func (s *Service) FragmentShared(ctx context.Context, digest string) (bool, error) {
	return s.rows.fragmentShared(ctx, digest)
}

// instruction builds the server's own cut of a package, issued at the given time.
func (s *Service) instruction(ctx context.Context, row *packageRow, issued time.Time, validFor time.Duration) (*instruction.Instruction, error) {
	p, err := row.toPackage()
	if err != nil {
		return nil, err
	}
	archive, err := s.rows.archive(ctx, row)
	if err != nil {
		return nil, err
	}
	p.Spec.ID = row.ID
	return instruction.Build(p.Spec, archive, issued, validFor)
}

// Instruction is the payload as the server would sign it (empty for a retired package, whose archive
// is gone), the signed envelope and the one that waits for more signatures, each empty without one.
func (s *Service) Instruction(ctx context.Context, id string) (payload, envelope, partial []byte, err error) {
	row, err := s.rows.find(ctx, id)
	if err != nil {
		return nil, nil, nil, err
	}
	if partial, err = s.partial(ctx, id); err != nil {
		return nil, nil, nil, err
	}
	if row.State != string(Retired) {
		i, err := s.instruction(ctx, row, row.CreatedAt, 0)
		if err != nil {
			return nil, nil, nil, err
		}
		if payload, err = i.Encode(); err != nil {
			return nil, nil, nil, err
		}
	}
	if row.InstructionDigest != "" {
		envelope, err = s.envelope(ctx, row.InstructionDigest)
	}
	return payload, envelope, partial, err
}

func (s *Service) envelope(ctx context.Context, digest string) (data []byte, err error) {
	f, _, err := s.blobs.Store().Open(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("open signed instruction: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, instruction.MaxEnvelope+1))
	if err != nil {
		return nil, fmt.Errorf("read signed instruction: %w", err)
	}
	return data, nil
}
