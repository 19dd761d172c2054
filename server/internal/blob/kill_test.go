package blob_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/muster/muster/server/internal/blob"
	"github.com/muster/muster/server/internal/store"
)

// The environment tells a child process of TestUpload_killed what to do.
const (
	killDir    = "MUSTER_TEST_UPLOAD_DIR"
	killUpload = "MUSTER_TEST_UPLOAD_ID"
)

// openAt opens database and blobs of a directory as a started server would.
func openAt(t *testing.T, dir string) (*blob.Service, *store.DB, *blob.Dir) {
	t.Helper()
	db, err := store.Open(context.Background(), "sqlite://"+filepath.ToSlash(filepath.Join(dir, "muster.db")), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, db.Migrate(context.Background()))
	d, err := blob.OpenDir(filepath.Join(dir, "blobs"))
	require.NoError(t, err)
	return blob.New(blob.Options{DB: db, Store: d, Log: slog.New(slog.DiscardHandler)}), db, d
}

// TestUpload_child is the server that TestUpload_killed kills: it goes on with the upload from wherever
// it stands, in requests of odd lengths.
func TestUpload_child(t *testing.T) {
	dir, id := os.Getenv(killDir), os.Getenv(killUpload)
	if dir == "" {
		return // not a child
	}
	ctx := context.Background()
	s, _, _ := openAt(t, dir)
	data, err := os.ReadFile(filepath.Join(dir, "data"))
	require.NoError(t, err)
	u, err := s.Upload(ctx, id)
	require.NoError(t, err)
	fmt.Println("ready") // the parent counts from here
	for u.Offset < u.Size {
		part := data[u.Offset:min(u.Offset+700_001, u.Size)]
		u, err = s.Append(ctx, id, u.Offset, bytes.NewReader(part))
		require.NoError(t, err)
	}
}

// TestUpload_killed kills a server that takes an upload, again and again at any moment, and holds that
// the offset it answers afterwards is what is durable and that the upload ends with the right digest.
func TestUpload_killed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	data := zipOf(t, 12*mib)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data"), data, 0o600))
	s, db, files := openAt(t, dir)
	u, err := s.Create(ctx, "a.zip", int64(len(data)))
	require.NoError(t, err)

	kills := 0
	for u.Offset < u.Size {
		if killed := runChild(t, dir, u.ID, kills < 20); killed {
			kills++
		}
		now, err := s.Upload(ctx, u.ID)
		require.NoError(t, err)
		require.GreaterOrEqual(t, now.Offset, u.Offset, "what was counted once stays")
		u = now
		require.NoError(t, db.Tx(ctx, func(tx *gorm.DB) error {
			frags, err := blob.Fragments(tx, u.ID)
			var sum int64
			for _, f := range frags {
				size, statErr := files.Stat(ctx, f.SHA256)
				require.NoError(t, statErr)
				require.Equal(t, f.Length, size)
				sum += size
			}
			require.Equal(t, u.Offset, sum, "the fragments hold exactly what the offset counts")
			return err
		}))
	}
	require.Positive(t, kills, "the child was never caught at work: send more data")
	_, err = s.Finish(ctx, u.ID, sumOf(string(data)))
	require.NoError(t, err)
}

// runChild starts a child and, if asked to, kills it a random moment after it is ready; it reports
// whether the child was still at work.
func runChild(t *testing.T, dir, id string, kill bool) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestUpload_child$")
	cmd.Env = append(os.Environ(), killDir+"="+dir, killUpload+"="+id)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ready := make([]byte, len("ready\n"))
	_, err = out.Read(ready)
	require.NoError(t, err)
	if kill {
		timer := time.AfterFunc(rand.N(100*time.Millisecond), func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	return cmd.Wait() != nil && kill
}
