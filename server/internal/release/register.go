package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/server/internal/blob"
)

// Register takes a release that its author signed. uploadIDs name the finished uploads of its builds, in
// their order. What the trust document does not let sign releases, what is expired, and a build that is not
// what the server's own cut says is refused, and then nothing is kept.
func (s *Service) Register(ctx context.Context, envelope []byte, uploadIDs []string) (Release, error) {
	doc, keys, err := s.trust.VerifyRelease(envelope)
	if err != nil {
		return Release{}, err
	}
	now := s.now()
	if doc.Expired(now) {
		return Release{}, fault.Field("body.envelope", "the signed release expired at %s: sign it again", doc.ExpiresAt.Format(time.RFC3339))
	}
	if len(uploadIDs) != len(doc.Builds) {
		return Release{}, fault.Field("body.upload_ids", "%d uploads are named, the release has %d builds: %s",
			len(uploadIDs), len(doc.Builds), strings.Join(doc.Platforms(), ", "))
	}
	for n, id := range uploadIDs {
		if err := s.check(ctx, doc.Builds[n], id); err != nil {
			return Release{}, err
		}
	}
	payload, err := doc.Encode()
	if err != nil {
		return Release{}, err
	}
	digest, err := s.blobs.Keep(ctx, envelope)
	if err != nil {
		return Release{}, err
	}
	row := &releaseRow{
		ID: doc.ID, Version: doc.Version, LiveKey: &doc.Version, State: string(Active), Envelope: digest, Document: string(payload),
		SignedBy: strings.Join(keys, " "), ExpiresAt: doc.ExpiresAt, CreatedBy: s.actor(ctx), CreatedAt: now,
	}
	// The uploads are compared again where they are adopted: they may have gone since.
	err = s.rows.create(ctx, row, int64(len(envelope)), uploadIDs, func(n int, own *instruction.Archive) error {
		return same(doc.Builds[n], own)
	})
	if err != nil {
		return Release{}, err
	}
	s.log.InfoContext(ctx, "release registered", "release", row.ID, "version", row.Version, "builds", strings.Join(doc.Platforms(), ","))
	s.notify(row.ID)
	return s.view(row)
}

// check compares a build with its upload: the cut, and the program inside.
func (s *Service) check(ctx context.Context, b release.Build, uploadID string) (err error) {
	up, err := s.blobs.Upload(ctx, uploadID)
	if fault.Is(err, fault.NotFound) {
		return errUpload(uploadID)
	}
	if err != nil {
		return err
	}
	if up.State != blob.StateFinished || up.Archive == nil {
		return fault.New(fault.Conflict, "the upload %s is not finished: %d of %d bytes have arrived", up.ID, up.Offset, up.Size)
	}
	frags, err := s.rows.fragments(ctx, uploadID)
	if err != nil {
		return err
	}
	own := &instruction.Archive{Format: up.Archive.Format, Size: up.Archive.Size, SHA256: up.Archive.SHA256, Fragments: frags}
	if err := same(b, own); err != nil {
		return err
	}
	content := fragment.NewReader(frags, func(sum string) (io.ReadCloser, error) {
		f, _, err := s.blobs.Store().Open(ctx, sum)
		return f, err
	})
	hash := sha256.New()
	size, err := archive.UnpackProgram(content, release.ProgramName(b.OS), hash, b.Size)
	if archive.Refused(err) {
		return fault.Wrap(err, fault.Untrusted, "the build for %s/%s is not one program of %d bytes", b.OS, b.Arch, b.Size)
	}
	if err != nil {
		return fmt.Errorf("read upload %s: %w", uploadID, err)
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); size != b.Size || sum != b.SHA256 {
		return fault.New(fault.Untrusted, "the program in the build for %s/%s has %d bytes and the digest %s, what is signed says %d and %s",
			b.OS, b.Arch, size, sum, b.Size, b.SHA256)
	}
	return nil
}

// same refuses a build that is signed to be another archive than the one that was uploaded for it.
func same(b release.Build, own *instruction.Archive) error {
	if b.Archive.SHA256 != own.SHA256 || b.Archive.Size != own.Size || b.Archive.Format != own.Format {
		return fault.New(fault.Untrusted, "the upload for %s/%s is a %s of %d bytes with the digest %s, what is signed says %s, %d and %s: were the uploads named in the order of the builds?",
			b.OS, b.Arch, own.Format, own.Size, own.SHA256, b.Archive.Format, b.Archive.Size, b.Archive.SHA256)
	}
	if !reflect.DeepEqual(b.Archive.Fragments, own.Fragments) {
		return fault.New(fault.Untrusted, "the fragments of the build for %s/%s differ from the server's own cut", b.OS, b.Arch)
	}
	return nil
}

// envelope reads a blob that Register kept.
func (s *Service) envelope(ctx context.Context, digest string) (data []byte, err error) {
	f, _, err := s.blobs.Store().Open(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("open signed release: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if data, err = io.ReadAll(io.LimitReader(f, release.MaxEnvelope+1)); err != nil {
		return nil, fmt.Errorf("read signed release: %w", err)
	}
	return data, nil
}
