// Package blob keeps everything that is named by its SHA-256, fragments of archives and signed
// instructions, and takes uploads.
//
// A blob is stored once however many packages and uploads refer to it. References are rows of the
// database; a blob without one is collected an hour after it was last claimed. An upload is cut into
// fragments while its octets arrive and is never joined on disk; a kill at any moment loses at most the
// octets that the upload's offset does not yet count. Uploads are open to the admin API, references to
// package catalog, and reading to whatever serves agents.
package blob

import (
	"context"
	"io"
	"time"
)

// Store keeps blobs by their lower-case hex SHA-256. All methods may be called concurrently.
type Store interface {
	// Put stores what r yields, durably. When it is not what sha256 says, nothing is stored and the error
	// is a fault of code untrusted. A blob that is there already is not written again.
	Put(ctx context.Context, sha256 string, r io.Reader) error
	// Open reads a blob and tells its size; a fault of code not_found without it.
	Open(ctx context.Context, sha256 string) (File, int64, error)
	// Stat is the size of a blob; a fault of code not_found without it.
	Stat(ctx context.Context, sha256 string) (int64, error)
	// Delete removes a blob; without it nothing happens.
	Delete(ctx context.Context, sha256 string) error
}

// File is an open blob.
type File interface {
	io.ReadSeekCloser
	io.ReaderAt
}

// Limits and times.
const (
	MaxPatch    = 256 << 20      // octets of one PATCH
	MaxEntries  = 5000           // entries of an archive that an upload shows
	uploadLife  = 24 * time.Hour // of an upload that nobody touches
	claimLife   = time.Hour      // of a blob that nothing refers to
	sweepPeriod = 10 * time.Minute
)
