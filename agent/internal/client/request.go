package client

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
)

// maxAck bounds the answer to reports.
const maxAck = 1 << 20

// Enroll asks to become a device.
func (c *Client) Enroll(ctx context.Context, req protocol.EnrollRequest) (protocol.EnrollResponse, error) {
	var resp protocol.EnrollResponse
	err := c.json(ctx, protocol.PathEnroll, req, &resp, protocol.MaxCheckInAnswer)
	return resp, err
}

// CheckIn asks what to do.
func (c *Client) CheckIn(ctx context.Context, req protocol.CheckInRequest) (protocol.CheckInResponse, error) {
	secret, next := c.Secrets()
	resp, used, err := c.checkInWith(ctx, req, secret, next)
	if err != nil || used == secret {
		return resp, err
	}
	return resp, c.settle(secret, next, used)
}

// checkInWith checks in with one secret, and after a 401 with the other, which may be empty.
func (c *Client) checkInWith(ctx context.Context, req protocol.CheckInRequest, secret, other string) (resp protocol.CheckInResponse, used string, err error) {
	used, err = c.jsonWith(ctx, protocol.PathCheckIn, req, &resp, protocol.MaxCheckInAnswer, secret, other)
	if err != nil {
		return resp, "", err
	}
	if resp.State == "" {
		return resp, "", notMuster(fault.New(fault.Invalid, "it names no state of this device"))
	}
	return resp, used, nil
}

// Reports delivers reports. An Ack means that they are durably committed.
func (c *Client) Reports(ctx context.Context, reports []protocol.Report) (protocol.Ack, error) {
	var ack protocol.Ack
	err := c.json(ctx, protocol.PathReports, protocol.ReportsRequest{Reports: reports}, &ack, maxAck)
	return ack, err
}

// Inventory says what an inventory found; the answer names the sections that the server wants.
func (c *Client) Inventory(ctx context.Context, head protocol.InventoryHead) (protocol.InventoryAnswer, error) {
	var answer protocol.InventoryAnswer
	err := c.json(ctx, protocol.PathInventory, head, &answer, protocol.MaxInventoryHead)
	return answer, err
}

// Section is one section of an inventory, as it is sent.
type Section struct {
	Name        string
	SHA256      string // of Lines, hex
	CollectedAt time.Time
	Lines       []byte
	Incomplete  []string // sources whose rows are not all there
}

// Section sends the lines of one section of an inventory that was collected at a time.
func (c *Client) Section(ctx context.Context, s Section) error {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	var packed bytes.Buffer // a tenth of the lines, and sent again as it is where one address does not answer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(s.Lines); err != nil {
		return fmt.Errorf("pack section %s: %w", s.Name, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("pack section %s: %w", s.Name, err)
	}
	query := url.Values{"sha256": {s.SHA256}, "collected_at": {s.CollectedAt.UTC().Format(time.RFC3339Nano)}}
	if len(s.Incomplete) > 0 {
		query.Set("incomplete", strings.Join(s.Incomplete, ","))
	}
	resp, err := c.do(ctx, http.MethodPut, protocol.PathInventory+"/"+url.PathEscape(s.Name)+"?"+query.Encode(), packed.Bytes(), http.Header{
		"Content-Type": {protocol.SectionContentType}, "Content-Encoding": {"gzip"},
	})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Rotate tells the server the next secret, which the caller has persisted, and uses it from then on.
func (c *Client) Rotate(ctx context.Context, next string) error {
	c.SetNext(next)
	return c.json(ctx, protocol.PathRotate, protocol.RotateRequest{NextSHA256: protocol.HashSecret(next)}, nil, 0)
}

// Promote checks in with the next secret if there is one, and keeps it if the server accepts it. Where all
// others are refused the old one is tried: the server may be back at an earlier state.
func (c *Client) Promote(ctx context.Context, req protocol.CheckInRequest) (protocol.CheckInResponse, error) {
	secret, next := c.Secrets()
	first, other := secret, ""
	if next != "" {
		first, other = next, secret
	}
	resp, used, err := c.checkInWith(ctx, req, first, other)
	if err == nil && next != "" {
		return resp, c.settle(secret, next, used)
	}
	c.mu.Lock()
	old := c.old
	c.mu.Unlock()
	if !fault.Is(err, fault.Unauthenticated) || old == "" {
		return resp, err
	}
	again, _, err2 := c.checkInWith(ctx, req, old, "")
	if err2 != nil {
		return resp, err
	}
	return again, c.settle(secret, next, old)
}

// Final reports whether the server itself said no to what was asked, so that asking again is of no use: not
// where it does not know the device at present, is in another state than before, has too much to do, or something
// on the way answered.
func Final(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.Foreign || e.Status < 400 || e.Status >= 500 {
		return false
	}
	switch e.Status {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	default:
		return true
	}
}

// Instruction fetches the signed envelope of the given digest. The caller compares the digest.
func (c *Client) Instruction(ctx context.Context, sha256 string) ([]byte, error) {
	return c.document(ctx, protocol.PathInstruction+"/"+sha256, "instruction", instruction.MaxEnvelope)
}

// Release fetches the signed envelope of an agent's release. The caller compares the digest.
func (c *Client) Release(ctx context.Context, sha256 string) ([]byte, error) {
	return c.document(ctx, protocol.PathRelease+"/"+sha256, "release", release.MaxEnvelope)
}

func (c *Client) document(ctx context.Context, path, what string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "read the %s", what)
	}
	if int64(len(b)) > limit {
		return nil, fault.New(fault.TooLarge, "the %s is over its limit of %d bytes", what, limit)
	}
	if !bytes.HasPrefix(b, []byte("{")) { // a page of a proxy; whatever looks like a document is judged by its digest
		return nil, notMuster(fault.New(fault.Invalid, "it is no document"))
	}
	return b, nil
}

// Fragment opens the bytes of a fragment from offset on. From tells where the body really begins: a
// server or proxy without Range begins at 0. The caller closes the body and bounds the time.
func (c *Client) Fragment(ctx context.Context, sha256 string, offset int64) (body io.ReadCloser, from int64, err error) {
	var extra http.Header
	if offset > 0 {
		extra = http.Header{"Range": {fmt.Sprintf("bytes=%d-", offset)}}
	}
	resp, err := c.do(ctx, http.MethodGet, protocol.PathFragment+"/"+sha256, nil, extra)
	if err != nil {
		return nil, 0, err
	}
	if resp.StatusCode != http.StatusPartialContent {
		return resp.Body, 0, nil
	}
	if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &from); err != nil || from != offset {
		resp.Body.Close()
		return nil, 0, fault.New(fault.Unavailable, "the server answers a part of the fragment that was not asked for")
	}
	return resp.Body, from, nil
}
