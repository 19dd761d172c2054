package trust_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/trust"
)

func TestSaveKey_loads(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "author.pem")
	k := key(t)
	require.NoError(t, trust.SaveKey(path, k))
	back, err := trust.LoadKey(path)
	require.NoError(t, err)
	require.Equal(t, k, back)
	require.Equal(t, k.ID(), trust.KeyID(back.PublicKey()))
	if runtime.GOOS != "windows" {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	}
}

func TestSaveKey_neverOverwrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "k.pem")
	first := key(t)
	require.NoError(t, trust.SaveKey(path, first))
	require.True(t, fault.Is(trust.SaveKey(path, key(t)), fault.Conflict))
	back, err := trust.LoadKey(path)
	require.NoError(t, err)
	require.Equal(t, first.ID(), back.ID())
}

func TestLoadKey_refuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := trust.LoadKey(filepath.Join(dir, "none.pem"))
	require.ErrorIs(t, err, fs.ErrNotExist)

	good, err := key(t).MarshalPEM()
	require.NoError(t, err)
	for name, data := range map[string]string{
		"empty": "", "text": "hello", "cut": string(good[:40]), "trailing": string(good) + "more",
		"other type": strings.ReplaceAll(string(good), "PRIVATE KEY", "PUBLIC KEY"), "huge": strings.Repeat("x", 20<<10),
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(data), 0o600))
		_, err := trust.LoadKey(path)
		require.Error(t, err, name)
	}
	if runtime.GOOS != "windows" {
		path := filepath.Join(dir, "open.pem")
		require.NoError(t, os.WriteFile(path, good, 0o600))
		require.NoError(t, os.Chmod(path, 0o644))
		_, err := trust.LoadKey(path)
		require.True(t, fault.Is(err, fault.Untrusted), "a key that others may read is no secret: %v", err)
	}
}

func TestPrivateKey_neverPrintsItsSecret(t *testing.T) {
	t.Parallel()
	k := key(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		require.Equal(t, "private key "+k.ID(), fmt.Sprintf(verb, k))
	}
}

func FuzzParsePEM(f *testing.F) {
	k, err := trust.GenerateKey()
	require.NoError(f, err)
	good, err := k.MarshalPEM()
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := trust.ParsePEM(data)
		if err != nil {
			return
		}
		again, err := k.MarshalPEM()
		require.NoError(t, err)
		same, err := trust.ParsePEM(again)
		require.NoError(t, err)
		require.Equal(t, k.ID(), same.ID())
	})
}
