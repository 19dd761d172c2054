package blob_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/server/internal/blob"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

const mib = 1 << 20

// env is a Service with a clock of its own.
type env struct {
	*blob.Service
	db   *store.DB
	dir  *blob.Dir
	path string
	mu   sync.Mutex
	now  time.Time
}

func newEnv(t *testing.T, db *store.DB) *env {
	e := &env{db: db, now: store.Now()}
	e.dir, e.path = dir(t)
	e.Service = e.restart()
	return e
}

// restart is a Service that knows only what is on disk.
func (e *env) restart() *blob.Service {
	return blob.New(blob.Options{DB: e.db, Store: e.dir, Log: slog.New(slog.DiscardHandler), Now: e.clock})
}

func (e *env) clock() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

func (e *env) pass(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = e.now.Add(d)
}

// zipOf is an archive with one incompressible file of about size bytes.
func zipOf(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, data := range map[string][]byte{"bin/setup": []byte("#!/bin/sh\n"), "data.bin": make([]byte, size)} {
		_, err := rand.Read(data[:max(0, len(data)-20)])
		require.NoError(t, err)
		h := &zip.FileHeader{Name: name, Method: zip.Store}
		h.SetMode(0o755)
		f, err := w.CreateHeader(h)
		require.NoError(t, err)
		_, err = f.Write(data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func (e *env) upload(t *testing.T, data []byte) blob.Upload {
	t.Helper()
	ctx := context.Background()
	u, err := e.Create(ctx, "a.zip", int64(len(data)))
	require.NoError(t, err)
	_, err = e.Append(ctx, u.ID, 0, bytes.NewReader(data))
	require.NoError(t, err)
	u, err = e.Finish(ctx, u.ID, sumOf(string(data)))
	require.NoError(t, err)
	return u
}

func TestUpload_whole(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		data := zipOf(t, 2*mib+mib/2)
		u := e.upload(t, data)
		require.Equal(t, blob.StateFinished, u.State)
		require.EqualValues(t, len(data), u.Offset)
		require.EqualValues(t, mib, u.FragmentSize)
		require.Equal(t, "zip", u.Archive.Format)
		require.Equal(t, 3, u.Archive.Fragments)
		require.Equal(t, sumOf(string(data)), u.Archive.SHA256)
		names := map[string]bool{}
		for _, entry := range u.Archive.Entries {
			names[entry.Name] = entry.Executable
		}
		require.True(t, names["bin/setup"])
		require.Contains(t, names, "data.bin")

		again, err := e.Finish(context.Background(), u.ID, u.Archive.SHA256)
		require.NoError(t, err, "finishing again changes nothing")
		require.Equal(t, u, again)
		_, err = e.Append(context.Background(), u.ID, u.Offset, bytes.NewReader(nil))
		require.True(t, fault.Is(err, fault.Conflict))
	})
}

// TestUpload_anyPartition holds that the fragments are those of the author's own cut, however the octets
// were cut into requests, with a restart after each.
func TestUpload_anyPartition(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e := newEnv(t, db)
		data := zipOf(t, 3*mib)
		want, err := fragment.Cut(bytes.NewReader(data), mib, func(instruction.Fragment, []byte) error { return nil })
		require.NoError(t, err)
		for _, part := range []int{mib, mib/2 + 1, 700_001, 2*mib + 5, len(data)} {
			u, err := e.Create(ctx, "a.zip", int64(len(data)))
			require.NoError(t, err)
			for off := 0; off < len(data); off += part {
				s := e.restart()
				got, err := s.Append(ctx, u.ID, int64(off), bytes.NewReader(data[off:min(off+part, len(data))]))
				require.NoError(t, err)
				require.EqualValues(t, min(off+part, len(data)), got.Offset)
			}
			done, err := e.restart().Finish(ctx, u.ID, want.SHA256)
			require.NoError(t, err)
			require.Equal(t, len(want.Fragments), done.Archive.Fragments)
			require.NoError(t, db.Tx(ctx, func(tx *gorm.DB) error {
				frags, err := blob.Fragments(tx, u.ID)
				require.Equal(t, want.Fragments, frags)
				return err
			}))
		}
	})
}

func TestUpload_brokenBodyCounts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e := newEnv(t, db)
		data := zipOf(t, 2*mib)
		u, err := e.Create(ctx, "a.zip", int64(len(data)))
		require.NoError(t, err)
		gone, cancel := context.WithCancel(ctx)
		cut := io.MultiReader(bytes.NewReader(data[:mib+77]), funcReader(func([]byte) (int, error) {
			cancel() // the client is gone: its request's context ends too
			return 0, io.ErrUnexpectedEOF
		}))
		_, err = e.Append(gone, u.ID, 0, cut)
		require.True(t, fault.Is(err, fault.Invalid), err)

		s := e.restart()
		got, err := s.Upload(ctx, u.ID)
		require.NoError(t, err)
		require.EqualValues(t, mib+77, got.Offset, "what arrived is kept")
		_, err = s.Append(ctx, u.ID, 0, bytes.NewReader(data))
		require.True(t, fault.Is(err, fault.Conflict))
		require.ErrorContains(t, err, fmt.Sprint(mib+77))
		_, err = s.Append(ctx, u.ID, got.Offset, bytes.NewReader(data[got.Offset:]))
		require.NoError(t, err)
		_, err = s.Finish(ctx, u.ID, sumOf(string(data)))
		require.NoError(t, err)
	})
}

type funcReader func([]byte) (int, error)

func (f funcReader) Read(p []byte) (int, error) { return f(p) }

func TestUpload_refuses(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e := newEnv(t, db)
		code := func(want fault.Code, err error) {
			t.Helper()
			require.Equal(t, want, fault.CodeOf(err), err)
		}
		_, err := e.Create(ctx, "a", 0)
		code(fault.Invalid, err)
		_, err = e.Create(ctx, "a", 1<<40)
		code(fault.TooLarge, err)
		_, err = e.Create(ctx, "a\nb", 1)
		code(fault.Invalid, err)
		_, err = e.Upload(ctx, "none")
		code(fault.NotFound, err)
		code(fault.NotFound, e.Delete(ctx, "none"))

		u, err := e.Create(ctx, `C:\dir\text.zip`, 5)
		require.NoError(t, err)
		require.Equal(t, "text.zip", u.FileName)
		_, err = e.Append(ctx, u.ID, 1, bytes.NewReader([]byte("x")))
		code(fault.Conflict, err)
		_, err = e.Finish(ctx, u.ID, sumOf("hello"))
		code(fault.Conflict, err)
		_, err = e.Append(ctx, u.ID, 0, bytes.NewReader([]byte("hello and more")))
		code(fault.Invalid, err)
		_, err = e.Finish(ctx, u.ID, "x")
		code(fault.Invalid, err)
		_, err = e.Finish(ctx, u.ID, sumOf("hellO"))
		code(fault.Untrusted, err)
		_, err = e.Finish(ctx, u.ID, sumOf("hello"))
		code(fault.Unsupported, err)

		hostile := hostileZip(t)
		u, err = e.Create(ctx, "evil.zip", int64(len(hostile)))
		require.NoError(t, err)
		_, err = e.Append(ctx, u.ID, 0, bytes.NewReader(hostile))
		require.NoError(t, err)
		_, err = e.Finish(ctx, u.ID, sumOf(string(hostile)))
		code(fault.Untrusted, err)
	})
}

func hostileZip(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("../../etc/cron.d/x")
	require.NoError(t, err)
	_, err = f.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestUpload_oneWriterAtATime(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e := newEnv(t, db)
		u, err := e.Create(ctx, "a.zip", 3*mib)
		require.NoError(t, err)
		r, w := io.Pipe()
		done := make(chan error, 1)
		go func() {
			_, err := e.Append(ctx, u.ID, 0, r)
			done <- err
		}()
		_, err = w.Write(make([]byte, mib/2)) // taken: the first request is at work
		require.NoError(t, err)
		_, err = e.Append(ctx, u.ID, 0, bytes.NewReader([]byte("x")))
		require.True(t, fault.Is(err, fault.Conflict))
		require.True(t, fault.Is(e.Delete(ctx, u.ID), fault.Conflict))

		// Another server of the same database is stopped by the row.
		_, err = e.restart().Append(ctx, u.ID, 0, bytes.NewReader(make([]byte, 100)))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.True(t, fault.Is(<-done, fault.Conflict))
		got, err := e.Upload(ctx, u.ID)
		require.NoError(t, err)
		require.EqualValues(t, 100, got.Offset)
	})
}

func TestCollect(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e := newEnv(t, db)
		u := e.upload(t, zipOf(t, 2*mib))
		require.Len(t, files(t, e.path), 3)
		kept, err := e.Keep(ctx, []byte("envelope"))
		require.NoError(t, err)
		require.NoError(t, db.Tx(ctx, func(tx *gorm.DB) error {
			archive, err := blob.AdoptUpload(tx, u.ID, "package", 0)
			require.NoError(t, err)
			require.Len(t, archive.Fragments, 3)
			require.Equal(t, "zip", archive.Format)
			require.Equal(t, u.Size, archive.Size)
			return blob.ReferEnvelope(tx, "package", kept, 8)
		}))
		orphan, err := e.Keep(ctx, []byte("orphan"))
		require.NoError(t, err)

		require.NoError(t, e.Collect(ctx))
		require.Len(t, files(t, e.path), 5, "a young blob may be about to be referred to")
		e.pass(2 * time.Hour)
		require.NoError(t, e.Collect(ctx))
		require.Len(t, files(t, e.path), 4)
		_, err = e.dir.Stat(ctx, orphan)
		require.True(t, fault.Is(err, fault.NotFound))

		e.pass(23 * time.Hour)
		require.NoError(t, e.Collect(ctx))
		_, err = e.Upload(ctx, u.ID)
		require.True(t, fault.Is(err, fault.NotFound), "an upload that nobody touches expires")
		require.Len(t, files(t, e.path), 4, "the package still refers to the fragments")

		require.NoError(t, db.Tx(ctx, func(tx *gorm.DB) error { return blob.DropFragments(tx, "package", e.clock()) }))
		require.NoError(t, e.Collect(ctx))
		require.Len(t, files(t, e.path), 4, "a backup that is being written may need them")
		e.pass(2 * time.Hour)
		require.NoError(t, e.Collect(ctx))
		require.Equal(t, []string{kept}, files(t, e.path))
		require.NoError(t, db.Tx(ctx, func(tx *gorm.DB) error { return blob.DropReferences(tx, "package", e.clock()) }))
		e.pass(2 * time.Hour)
		require.NoError(t, e.Collect(ctx))
		require.Empty(t, files(t, e.path))
	})
}

// TestCollect_besideUploads holds the promise of the package: however collecting and uploading the same
// content interleave, what is referred to is there.
func TestCollect_besideUploads(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, cancel := context.WithCancel(context.Background())
		e := newEnv(t, db)
		data := zipOf(t, mib)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = e.Collect(ctx) // contention is allowed to end a round
				}
			}
		})
		for range 15 {
			u := e.upload(t, data)
			require.NoError(t, db.Tx(ctx, func(tx *gorm.DB) error {
				frags, err := blob.Fragments(tx, u.ID)
				for _, f := range frags {
					_, statErr := e.dir.Stat(ctx, f.SHA256)
					err = errors.Join(err, statErr)
				}
				return err
			}))
			require.NoError(t, e.Delete(ctx, u.ID))
			e.pass(2 * time.Hour) // everything is old enough to be collected now
		}
		close(stop)
		wg.Wait()
		cancel()
	})
}
