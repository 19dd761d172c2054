package blob_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/blob"
)

func sumOf(data string) string {
	sum := sha256.Sum256([]byte(data))
	return hex.EncodeToString(sum[:])
}

func dir(t *testing.T) (*blob.Dir, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "blobs")
	d, err := blob.OpenDir(path)
	require.NoError(t, err)
	return d, path
}

func files(t *testing.T, root string) []string {
	t.Helper()
	var list []string
	require.NoError(t, filepath.WalkDir(root, func(p string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			list = append(list, e.Name())
		}
		return err
	}))
	return list
}

func TestDir_keeps(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d, path := dir(t)
	sum := sumOf("hello")
	require.NoError(t, d.Put(ctx, sum, strings.NewReader("hello")))
	require.NoError(t, d.Put(ctx, sum, iotest.ErrReader(errors.New("not read"))), "what is there is not written again")
	require.Equal(t, []string{sum}, files(t, path))
	_, err := os.Stat(filepath.Join(path, sum[:2], sum))
	require.NoError(t, err)

	n, err := d.Stat(ctx, sum)
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
	f, n, err := d.Open(ctx, sum)
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
	data, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, "hello", string(data))
	require.NoError(t, f.Close())

	_, err = blob.OpenDir(path)
	require.NoError(t, err, "opening again keeps what is there")
	require.NoError(t, d.Delete(ctx, sum))
	require.NoError(t, d.Delete(ctx, sum), "without it nothing happens")
	_, err = d.Stat(ctx, sum)
	require.True(t, fault.Is(err, fault.NotFound))
	_, _, err = d.Open(ctx, sum)
	require.True(t, fault.Is(err, fault.NotFound))
}

func TestDir_refusesOtherContent(t *testing.T) {
	t.Parallel()
	d, path := dir(t)
	err := d.Put(context.Background(), sumOf("hello"), strings.NewReader("hellO"))
	require.True(t, fault.Is(err, fault.Untrusted), err)
	require.Empty(t, files(t, path), "nothing is left of it")

	broken := io.MultiReader(strings.NewReader("hel"), iotest.ErrReader(errors.New("cut")))
	require.ErrorContains(t, d.Put(context.Background(), sumOf("hello"), broken), "cut")
	require.Empty(t, files(t, path))

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, d.Put(ctx, sumOf("hello"), strings.NewReader("hello")), context.Canceled)
	require.Empty(t, files(t, path))
}

func TestDir_refusesNamesThatAreNoDigests(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d, _ := dir(t)
	for _, name := range []string{"", "x", "../../../etc/passwd", strings.Repeat("A", 64), strings.Repeat("a", 63) + "/", strings.Repeat("../", 21) + "a"} {
		require.True(t, fault.Is(d.Put(ctx, name, strings.NewReader("x")), fault.NotFound), name)
		require.True(t, fault.Is(d.Delete(ctx, name), fault.NotFound), name)
		_, err := d.Stat(ctx, name)
		require.True(t, fault.Is(err, fault.NotFound), name)
		_, _, err = d.Open(ctx, name)
		require.True(t, fault.Is(err, fault.NotFound), name)
	}
}

func TestDir_sweepsTemporaryFiles(t *testing.T) {
	t.Parallel()
	d, path := dir(t)
	sum := sumOf("hello")
	require.NoError(t, d.Put(context.Background(), sum, strings.NewReader("hello")))
	tmp := filepath.Join(path, "ab", ".abc.1.tmp")
	require.NoError(t, os.WriteFile(tmp, []byte("x"), 0o600))
	require.NoError(t, d.Sweep(time.Now().Add(-time.Hour)))
	require.Len(t, files(t, path), 2, "a young one may still be written to")
	require.NoError(t, d.Sweep(time.Now().Add(time.Hour)))
	require.Equal(t, []string{sum}, files(t, path))
}
