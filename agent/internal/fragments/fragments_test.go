package fragments_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/fragments"
	"github.com/muster/muster/packages/fault"
)

const id = "0198f0aa-aaaa-7bbb-8ccc-ddddeeeeffff"

func TestList(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	notThere := func(id string, number int) {
		t.Helper()
		_, err := fragments.Find(data, id, number)
		require.Equal(t, fault.NotFound, fault.CodeOf(err), "%v", err)
	}
	notThere(id, 1)
	require.NoError(t, fragments.WriteList(data, id, []string{b, b, b}))
	require.NoError(t, fragments.WriteList(data, id, []string{a, b}))
	for n, want := range []string{a, b} {
		digest, err := fragments.Find(data, id, n+1)
		require.NoError(t, err)
		require.Equal(t, want, digest)
	}
	for _, number := range []int{-1, 0, 3, 1 << 40} {
		notThere(id, number)
	}
	for _, bad := range []string{"", "..", "../" + id, strings.ToUpper(id), id + "\x00", strings.Repeat("-", 36), strings.Repeat("0", 36)} {
		notThere(bad, 1)
		require.Equal(t, fault.Invalid, fault.CodeOf(fragments.WriteList(data, bad, []string{a})), bad)
	}
	require.NoError(t, fragments.RemoveList(data, id))
	require.NoError(t, fragments.RemoveList(data, id), "it is gone already")
	notThere(id, 1)
}

func TestOpen_handsOutSharedOnesOnly(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	shared, private := strings.Repeat("a", 64), strings.Repeat("b", 64)
	_, err := fragments.Open(data, shared)
	require.Equal(t, fault.NotFound, fault.CodeOf(err), "there is no folder yet")
	for digest, dir := range map[string]string{shared: fragments.Dir(data, false), private: fragments.Dir(data, true)} {
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, digest), []byte("content"), 0o600))
	}
	file, err := fragments.Open(data, shared)
	require.NoError(t, err)
	defer file.Close()
	content, err := io.ReadAll(file)
	require.NoError(t, err)
	require.Equal(t, "content", string(content))
	for _, digest := range []string{private, "", "..", strings.ToUpper(shared), shared[:63], "../private-fragments/" + private} {
		_, err := fragments.Open(data, digest)
		require.Equal(t, fault.NotFound, fault.CodeOf(err), digest)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	require.NoError(t, fragments.Prune(data, time.Now()), "there is nothing yet")
	digest := strings.Repeat("a", 64)
	var files []string
	for _, private := range []bool{false, true} {
		files = append(files, filepath.Join(fragments.Dir(data, private), digest), filepath.Join(fragments.Dir(data, private), digest+fragments.Part))
	}
	for _, path := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	}
	require.NoError(t, fragments.WriteList(data, id, []string{digest}))
	require.NoError(t, fragments.Prune(data, time.Now().Add(-time.Hour)))
	for _, path := range files {
		require.FileExists(t, path)
	}
	_, err := fragments.Find(data, id, 1)
	require.NoError(t, err)
	require.NoError(t, fragments.Prune(data, time.Now().Add(time.Hour)))
	for _, path := range files {
		require.NoFileExists(t, path)
	}
	_, err = fragments.Find(data, id, 1)
	require.Error(t, err)
}
