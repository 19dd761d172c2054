package tlsca

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// An authority opens with the key and the certificate that belong together, or says what is wrong; it never
// begins anew over files that are there.
func FuzzFiles(f *testing.F) {
	dir := f.TempDir()
	o := Options{Dir: dir, Hosts: []string{"localhost"}, Log: slog.New(slog.DiscardHandler)}
	a, err := Open(o)
	require.NoError(f, err)
	key, err := os.ReadFile(filepath.Join(dir, keyFile))
	require.NoError(f, err)
	cert, err := os.ReadFile(filepath.Join(dir, certFile))
	require.NoError(f, err)
	f.Add(key, cert)
	f.Add(key, key)
	f.Add([]byte{}, cert)
	f.Add(append([]byte("junk\n"), key...), cert[:len(cert)/2])
	f.Fuzz(func(t *testing.T, key, cert []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, keyFile), key, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, certFile), cert, 0o600))
		opened, err := Open(Options{Dir: dir, Hosts: o.Hosts, Log: o.Log})
		for name, data := range map[string][]byte{keyFile: key, certFile: cert} {
			now, rerr := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, rerr)
			require.Equal(t, data, now)
		}
		if err == nil {
			require.NoError(t, opened.leaf.Load().Leaf.CheckSignatureFrom(opened.cert))
			if string(cert) == string(a.cert.Raw) {
				require.Equal(t, a.Fingerprint(), opened.Fingerprint())
			}
		}
	})
}
