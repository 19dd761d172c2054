package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/muster/muster/packages/fault"
)

// pieceSize is how much one PATCH carries at most: a cut costs little, and proxies that collect whole
// bodies are not asked for gigabytes.
const pieceSize = 32 << 20

// errAnswered ends a body whose request has its answer; nobody sees it.
var errAnswered = errors.New("the request was answered")

// shortWait is the pause after a first failure; it grows from there.
const shortWait = 500 * time.Millisecond

// UploadOptions describe one upload.
type UploadOptions struct {
	FileName string
	Content  io.ReaderAt
	Size     int64
	SHA256   string // of the whole, hex
	Resume   string // id of an upload that was begun earlier
	// Begun is told the upload as soon as it has an id. Moved is told how far it is, also backwards.
	Begun func(Upload)
	Moved func(offset int64)
	// Tries is how often a step may fail in a row, with growing pauses, before the upload is given up;
	// 0 is defaultTries.
	Tries uint
}

// Upload brings the content to the server. When the connection is cut it asks how far it came, and
// goes on from there.
func (c *Client) Upload(ctx context.Context, o UploadOptions) (Upload, error) {
	u, err := c.beginUpload(ctx, o)
	if err != nil {
		return u, err
	}
	if o.Begun != nil {
		o.Begun(u)
	}
	for u.State != "finished" && u.Offset < o.Size {
		if o.Moved != nil {
			o.Moved(u.Offset)
		}
		if u, err = c.piece(ctx, u, o); err != nil {
			return u, err
		}
	}
	if o.Moved != nil {
		o.Moved(o.Size)
	}
	if u.State == "finished" {
		return u, nil
	}
	return retry(ctx, o.Tries, func() (Upload, error) {
		done, err := post[Upload](ctx, c, "/uploads"+seg(u.ID)+"/finish", map[string]string{"sha256": o.SHA256})
		return done, err
	})
}

func (c *Client) beginUpload(ctx context.Context, o UploadOptions) (Upload, error) {
	if o.Resume == "" {
		return post[Upload](ctx, c, "/uploads", map[string]any{"file_name": o.FileName, "size": o.Size})
	}
	u, err := get[Upload](ctx, c, "/uploads"+seg(o.Resume))
	if err != nil {
		return u, err
	}
	if u.Size != o.Size {
		return u, fault.New(fault.Conflict, "upload %s is of a file of %d bytes, this one has %d: begin a new upload", u.ID, u.Size, o.Size)
	}
	return u, nil
}

// piece sends the next octets. After a failure that may pass it asks the server for the offset first:
// the server may have more than we know, and any progress counts as success.
func (c *Client) piece(ctx context.Context, u Upload, o UploadOptions) (Upload, error) {
	ask := false
	return retry(ctx, o.Tries, func() (Upload, error) {
		if ask {
			now, err := get[Upload](ctx, c, "/uploads"+seg(u.ID))
			if err != nil || now.Offset != u.Offset || now.State == "finished" {
				return now, err
			}
		}
		next, err := c.patch(ctx, u, o)
		switch {
		case fault.Is(err, fault.Conflict):
			// Our offset is not the server's: an answer was lost on the way. Or the server still listens to the
			// line that was cut, which it notices within a minute.
			ask = true
			return u, fault.Wrap(err, fault.Unavailable, "the upload is out of step")
		case err != nil:
			ask = true
			return u, err
		case next.Offset <= u.Offset:
			return u, fault.New(fault.Unsupported, "the server took nothing of the upload at offset %d", u.Offset)
		default:
			return next, nil
		}
	})
}

func (c *Client) patch(ctx context.Context, u Upload, o UploadOptions) (Upload, error) {
	n := min(pieceSize, o.Size-u.Offset)
	body := &meter{r: io.NewSectionReader(o.Content, u.Offset, n), size: n, at: u.Offset, moved: o.Moved}
	header := http.Header{}
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Upload-Offset", strconv.FormatInt(u.Offset, 10))
	var out Upload
	err := c.send(ctx, http.MethodPatch, "/uploads"+seg(u.ID), nil, header, body, &out)
	if broken := body.end(); broken != nil {
		return out, backoff.Permanent(fmt.Errorf("read %s: %w", o.FileName, broken))
	}
	return out, err
}

// meter is a body of known size. It tells how much was read, and remembers why reading failed. An
// answer may come before the whole body was sent; the transport then goes on reading for a while.
type meter struct {
	size  int64
	moved func(int64)

	mu    sync.Mutex
	r     io.Reader
	at    int64
	ended bool
	err   error
}

// end stops reading, and gives the error that reading met.
func (m *meter) end() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	return m.err
}

func (m *meter) Read(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return 0, errAnswered
	}
	n, err := m.r.Read(p)
	m.at += int64(n)
	if n > 0 && m.moved != nil {
		m.moved(m.at)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		m.err = err
	}
	return n, err
}

// defaultTries are about three minutes.
const defaultTries = 16

// retry repeats op while it fails with what may pass.
func retry(ctx context.Context, tries uint, op func() (Upload, error)) (Upload, error) {
	if tries == 0 {
		tries = defaultTries
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = shortWait
	wait.MaxInterval = 15 * time.Second
	u, err := backoff.Retry(ctx, func() (Upload, error) {
		u, err := op()
		if err != nil && !fault.Retryable(err) {
			return u, backoff.Permanent(err)
		}
		return u, err
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(tries), backoff.WithMaxElapsedTime(0))
	var permanent *backoff.PermanentError
	if errors.As(err, &permanent) {
		err = permanent.Err
	}
	return u, err
}
