package agenttest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"runtime"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/packages/trust"
)

// TarGz makes an archive of executable files.
func TarGz(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	zip := gzip.NewWriter(&buf)
	w := tar.NewWriter(zip)
	for name, text := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(text)), Typeflag: tar.TypeReg}))
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, zip.Close())
	return buf.Bytes()
}

// Release makes a release of one build, for this system, of a program that is in an archive under its proper name.
// change may alter the document before it is signed, with keys or, without any, with that of the role release.
func (s *Server) Release(t testing.TB, version, program string, change func(*release.Release), keys ...trust.PrivateKey) protocol.Task {
	t.Helper()
	return s.ReleaseOf(t, version, program, TarGz(t, map[string]string{release.ProgramName(runtime.GOOS): program}), change, keys...)
}

// ReleaseOf makes a release whose archive is given.
func (s *Server) ReleaseOf(t testing.TB, version, program string, archive []byte, change func(*release.Release), keys ...trust.PrivateKey) protocol.Task {
	t.Helper()
	cut, err := fragment.Cut(bytes.NewReader(archive), 64<<10, func(f instruction.Fragment, data []byte) error {
		s.Lock()
		defer s.Unlock()
		s.blobs[f.SHA256] = bytes.Clone(data)
		return nil
	})
	require.NoError(t, err)
	cut.Format = release.ArchiveFormat
	sum := sha256.Sum256([]byte(program))
	doc := &release.Release{Format: release.Format, ID: uuid.NewString(), Version: version, Builds: []release.Build{{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Archive: cut, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(program)),
	}}}
	doc.Stamp(time.Now(), 0)
	if change != nil {
		change(doc)
	}
	payload, err := doc.Encode()
	require.NoError(t, err)
	if len(keys) == 0 {
		keys = []trust.PrivateKey{s.ReleaseKey}
	}
	envelope, err := trust.SignEnvelope(release.PayloadType, payload, keys...)
	require.NoError(t, err)
	digest := sha256.Sum256(envelope)
	update := &protocol.UpdateTask{ReleaseID: doc.ID, Version: doc.Version, Release: hex.EncodeToString(digest[:])}
	s.Lock()
	defer s.Unlock()
	s.blobs[update.Release] = envelope
	return protocol.Task{ID: uuid.NewString(), Kind: protocol.TaskUpdate, Update: update}
}
