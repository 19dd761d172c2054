package blob

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/protocol"
)

// answerWithin is how long a request to finish waits. To look into an archive takes as long as to unpack
// it, many minutes for the largest; proxies and clients do not wait that long for an answer.
const answerWithin = 45 * time.Second

// lookAtOnce is how many archives are looked into at a time; others wait for their turn.
const lookAtOnce = 4

// Finish ends an upload whose octets have all arrived and have the given digest, and looks into the
// archive. To finish again with the same digest changes nothing.
//
// What takes long goes on when the request has ended, and whoever asks again meanwhile gets its result.
// Until then the error is a fault of code unavailable: ask again.
func (s *Service) Finish(ctx context.Context, id, digest string) (Upload, error) {
	f := s.join(ctx, id, digest)
	patience := time.NewTimer(s.answerWithin)
	defer patience.Stop()
	select {
	case <-f.done:
		s.forget(id+digest, f)
		return f.upload, f.err
	case <-patience.C:
		return Upload{}, fault.New(fault.Unavailable, "the server is still looking into the archive; ask again for the result")
	case <-ctx.Done():
		return Upload{}, fmt.Errorf("finish upload %s: %w", id, ctx.Err())
	}
}

// finishing is the end of an upload at work. It stays until somebody has heard its result, or nobody did
// for resultLife.
type finishing struct {
	done   chan struct{} // closed when the others are set
	upload Upload
	err    error
}

const resultLife = 5 * time.Minute

// join begins to finish an upload, or finds who does it already.
func (s *Service) join(ctx context.Context, id, digest string) *finishing {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := id + digest
	if f := s.finishing[key]; f != nil {
		return f
	}
	f := &finishing{done: make(chan struct{})}
	if s.life.Err() != nil {
		f.err = fault.New(fault.Unavailable, "the server is shutting down; ask again")
		close(f.done)
		return f
	}
	s.finishing[key] = f
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(s.life, cancel)
	s.work.Go(func() {
		defer cancel()
		defer unhook()
		defer close(f.done)
		defer time.AfterFunc(resultLife, func() { s.forget(key, f) })
		defer func() {
			if p := recover(); p != nil { // no request is around to catch it, and the archive is hostile
				f.err = fault.New(fault.Internal, "looking into upload %s failed: %v", id, p)
			}
		}()
		f.upload, f.err = s.finish(ctx, id, digest)
	})
	return f
}

// endFinishing ends what is at work and waits for that; nothing begins any more. The uploads stay as they
// are, to be finished another time.
func (s *Service) endFinishing() {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.work.Wait()
}

func (s *Service) forget(key string, f *finishing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finishing[key] == f {
		delete(s.finishing, key)
	}
}

func (s *Service) finish(ctx context.Context, id, digest string) (Upload, error) {
	if !s.begin(id) {
		return Upload{}, errBusy()
	}
	defer s.end(id)
	row, err := s.rows.upload(ctx, id)
	if err != nil {
		return Upload{}, err
	}
	if row.State == StateFinished && row.SHA256 == digest {
		return row.upload()
	}
	if err := row.checkComplete(digest); err != nil {
		return Upload{}, err
	}
	select {
	case s.looking <- struct{}{}:
		defer func() { <-s.looking }()
	case <-ctx.Done():
		return Upload{}, fmt.Errorf("wait to look into upload %s: %w", id, ctx.Err())
	}
	if err := s.inspect(ctx, row); err != nil {
		return Upload{}, err
	}
	row.State, row.SHA256, row.UpdatedAt = StateFinished, digest, s.now()
	if err := s.rows.finishUpload(ctx, row); err != nil {
		return Upload{}, err
	}
	s.notify(id)
	return row.upload()
}

func (u *uploadRow) checkComplete(digest string) error {
	if !protocol.IsSHA256(digest) {
		return fault.Field("body.sha256", "%.80q is not a SHA-256 digest in lower-case hex", digest)
	}
	if u.State == StateFinished {
		return fault.New(fault.Conflict, "the upload is finished with the digest %s", u.SHA256)
	}
	if u.Received != u.Size {
		return fault.New(fault.Conflict, "%d of %d octets have arrived; send the rest first", u.Received, u.Size)
	}
	h := sha256.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(u.HashState); err != nil { //nolint:forcetypeassert // documented by crypto/sha256
		return fmt.Errorf("restore hash state: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != digest {
		return fault.New(fault.Untrusted, "what arrived has the digest %s, not %s: the file changed meanwhile or was damaged; upload it again", got, digest)
	}
	return nil
}

// inspect detects the format and lists the archive, without joining it.
func (s *Service) inspect(ctx context.Context, row *uploadRow) (err error) {
	frags, err := Fragments(s.rows.db.With(ctx), row.ID)
	if err != nil {
		return err
	}
	r, err := fragment.NewReaderAt(frags, func(sum string) (fragment.File, error) {
		f, _, err := s.store.Open(ctx, sum)
		return f, err
	})
	if err != nil {
		return fmt.Errorf("read upload %s: %w", row.ID, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if row.Format, err = archive.Detect(r, r.Size()); err != nil {
		return err
	}
	list, err := archive.List(ctx, r, r.Size(), row.Format, archive.DefaultLimits())
	if err != nil {
		return err
	}
	row.EntriesTotal = len(list)
	shown := make([]ArchiveEntry, 0, min(len(list), MaxEntries))
	for _, e := range list[:min(len(list), MaxEntries)] {
		shown = append(shown, ArchiveEntry{Name: e.Name, Size: e.Size, Dir: e.Dir, Executable: e.Executable()})
	}
	data, err := json.Marshal(shown)
	if err != nil {
		return fmt.Errorf("save entries: %w", err)
	}
	row.Entries = string(data)
	return nil
}
