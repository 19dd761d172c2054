package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
)

// States of an upload.
const (
	StateOpen     = "open"
	StateFinished = "finished"
)

// Upload is a file on its way to the server. Offset counts the octets that are durable.
type Upload struct {
	ID           string         `json:"id"`
	FileName     string         `json:"file_name"`
	Size         int64          `json:"size"`
	Offset       int64          `json:"offset" doc:"octets that are stored durably; go on from here"`
	State        string         `json:"state" enum:"open,finished"`
	FragmentSize int64          `json:"fragment_size"`
	CreatedAt    time.Time      `json:"created_at"`
	Archive      *UploadArchive `json:"archive,omitempty"`
}

// UploadArchive is what a finished upload turned out to be.
type UploadArchive struct {
	Format       string         `json:"format" enum:"zip,tar.gz"`
	Size         int64          `json:"size"`
	SHA256       string         `json:"sha256"`
	Fragments    int            `json:"fragments"`
	Entries      []ArchiveEntry `json:"entries" doc:"the first 5000 entries"`
	EntriesTotal int            `json:"entries_total"`
}

// ArchiveEntry is a file or directory of an archive.
type ArchiveEntry struct {
	Name       string `json:"name"`
	Size       int64  `json:"size"`
	Dir        bool   `json:"dir"`
	Executable bool   `json:"executable"`
}

// Create begins an upload of size octets.
func (s *Service) Create(ctx context.Context, fileName string, size int64) (Upload, error) {
	if size < 1 {
		return Upload{}, fault.Field("body.size", "the file is empty")
	}
	if size > instruction.MaxArchive {
		return Upload{}, fault.New(fault.TooLarge, "the file has %d bytes, an archive may have %d", size, int64(instruction.MaxArchive))
	}
	name, err := cleanName(fileName)
	if err != nil {
		return Upload{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Upload{}, fmt.Errorf("make upload id: %w", err)
	}
	state, err := sha256.New().(encoding.BinaryMarshaler).MarshalBinary() //nolint:forcetypeassert // documented by crypto/sha256
	if err != nil {
		return Upload{}, fmt.Errorf("save hash state: %w", err)
	}
	now := s.now()
	row := &uploadRow{
		ID: id.String(), FileName: name, Size: size, FragmentSize: fragment.SizeFor(size), HashState: state,
		State: StateOpen, CreatedBy: s.actor(ctx), CreatedAt: now, UpdatedAt: now,
	}
	if err := s.rows.createUpload(ctx, row); err != nil {
		return Upload{}, err
	}
	s.notify(row.ID)
	return row.upload()
}

// cleanName keeps the last element of a file name; it is shown, never opened.
func cleanName(name string) (string, error) {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	if name == "." || name == "/" || len(name) > 255 || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", fault.Field("body.file_name", "%.80q is not a file name of at most 255 bytes", name)
	}
	return name, nil
}

// Upload reads one upload.
func (s *Service) Upload(ctx context.Context, id string) (Upload, error) {
	row, err := s.rows.upload(ctx, id)
	if err != nil {
		return Upload{}, err
	}
	return row.upload()
}

// upload is the row as others see it.
//
//fuzz:none the server wrote the row itself
func (u *uploadRow) upload() (Upload, error) {
	out := Upload{
		ID: u.ID, FileName: u.FileName, Size: u.Size, Offset: u.Received, State: u.State,
		FragmentSize: u.FragmentSize, CreatedAt: u.CreatedAt,
	}
	if u.State != StateFinished {
		return out, nil
	}
	out.Archive = &UploadArchive{Format: u.Format, Size: u.Size, SHA256: u.SHA256, Fragments: u.Fragments, EntriesTotal: u.EntriesTotal}
	if err := json.Unmarshal([]byte(u.Entries), &out.Archive.Entries); err != nil {
		return out, fmt.Errorf("read entries of upload %s: %w", u.ID, err)
	}
	return out, nil
}

// Delete forgets an upload. Packages made from it keep what they refer to.
func (s *Service) Delete(ctx context.Context, id string) error {
	if !s.begin(id) {
		return errBusy()
	}
	defer s.end(id)
	if err := s.rows.deleteUpload(ctx, id, s.now()); err != nil {
		return err
	}
	s.notify(id)
	return nil
}

func errBusy() error {
	return fault.New(fault.Conflict, "another request is writing to this upload; wait for it to end")
}

func (s *Service) begin(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[id] {
		return false
	}
	s.busy[id] = true
	return true
}

func (s *Service) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, id)
}

// Append takes octets at an offset, which must be the upload's own. What has arrived before an error is
// kept and counted; the offset afterwards says how much that is.
func (s *Service) Append(ctx context.Context, id string, offset int64, r io.Reader) (Upload, error) {
	if !s.begin(id) {
		return Upload{}, errBusy()
	}
	defer s.end(id)
	row, err := s.rows.upload(ctx, id)
	if err != nil {
		return Upload{}, err
	}
	if row.State != StateOpen {
		return Upload{}, fault.New(fault.Conflict, "the upload is finished")
	}
	if row.Received != offset {
		return Upload{}, fault.New(fault.Conflict, "the upload is at offset %d, not %d", row.Received, offset)
	}
	c, err := s.newCutter(ctx, row)
	if err != nil {
		return Upload{}, err
	}
	if err := c.take(ctx, r); err != nil {
		return Upload{}, err
	}
	s.notify(id)
	return row.upload()
}

// cutter turns the octets of one PATCH into fragments. Only the last fragment of an upload may be
// shorter than the fragment size; a PATCH that ends inside a fragment leaves a shorter one, which the
// next PATCH loads, completes and replaces. So the references of an upload always hold exactly the
// octets that its offset counts, and there is no other state on disk.
type cutter struct {
	s    *Service
	row  *uploadRow
	hash hash.Hash    // over all octets of the upload
	buf  bytes.Buffer // the fragment being filled
}

func (s *Service) newCutter(ctx context.Context, row *uploadRow) (*cutter, error) {
	c := &cutter{s: s, row: row, hash: sha256.New()}
	if err := c.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(row.HashState); err != nil { //nolint:forcetypeassert // documented by crypto/sha256
		return nil, fmt.Errorf("restore hash state: %w", err)
	}
	if row.Received%row.FragmentSize == 0 {
		return c, nil
	}
	frags, err := Fragments(s.rows.db.With(ctx), row.ID)
	if err != nil {
		return nil, err
	}
	f, _, err := s.store.Open(ctx, frags[len(frags)-1].SHA256)
	if err != nil {
		return nil, fmt.Errorf("load the begun fragment: %w", err)
	}
	_, err = c.buf.ReadFrom(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("load the begun fragment: %w", err)
	}
	return c, nil
}

// take reads r to its end. A body that breaks off still counts as far as it came.
func (c *cutter) take(ctx context.Context, r io.Reader) error {
	// What has arrived is kept even when the client has gone meanwhile.
	keep := context.WithoutCancel(ctx)
	most := min(c.row.Size-c.row.Received, MaxPatch)
	body := io.LimitReader(r, most)
	for {
		n, err := io.CopyN(io.MultiWriter(&c.buf, c.hash), body, c.row.FragmentSize-int64(c.buf.Len()))
		if n > 0 {
			if err := c.flush(keep, n); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return brokeOff(err)
		}
	}
	if n, _ := io.CopyN(io.Discard, r, 1); n == 0 {
		return nil
	}
	if c.row.Received == c.row.Size {
		return fault.New(fault.Invalid, "more octets arrived than the upload's size of %d", c.row.Size)
	}
	return fault.New(fault.TooLarge, "one request may carry %d octets; read the upload's offset and go on from there", MaxPatch)
}

// brokeOff is the error of a body that ended early. A client that went away hears nothing of it; one
// that was cut off by a time limit or a proxy may try again.
func brokeOff(err error) error {
	code := fault.Unavailable
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled) {
		code = fault.Invalid
	}
	return fault.Wrap(err, code, "the octets broke off; read the upload's offset and go on from there")
}

// flush makes the n newest octets of the buffer durable and counts them.
func (c *cutter) flush(ctx context.Context, n int64) error {
	sum := sha256.Sum256(c.buf.Bytes())
	f := instruction.Fragment{SHA256: hex.EncodeToString(sum[:]), Length: int64(c.buf.Len())}
	if err := c.s.put(ctx, f.SHA256, c.buf.Bytes()); err != nil {
		return err
	}
	state, err := c.hash.(encoding.BinaryMarshaler).MarshalBinary() //nolint:forcetypeassert // documented by crypto/sha256
	if err != nil {
		return fmt.Errorf("save hash state: %w", err)
	}
	before := c.row.Received
	seq := int(before / c.row.FragmentSize)
	next := *c.row
	next.Received, next.Fragments, next.HashState, next.UpdatedAt = before+n, seq+1, state, c.s.now()
	if err := c.s.rows.advance(ctx, before, &next, seq, f); err != nil {
		return err
	}
	*c.row = next
	if f.Length == c.row.FragmentSize {
		c.buf.Reset()
	}
	return nil
}
