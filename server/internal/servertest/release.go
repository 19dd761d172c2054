package servertest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/packages/trust"
	"github.com/muster/muster/server/internal/api"
)

// Build packs a program for a platform and describes it as an author's tool does.
func Build(t testing.TB, goos, goarch string, program []byte) (release.Build, []byte) {
	t.Helper()
	var packed bytes.Buffer
	require.NoError(t, archive.PackProgram(&packed, release.ProgramName(goos), bytes.NewReader(program), int64(len(program))))
	a, err := fragment.Cut(bytes.NewReader(packed.Bytes()), fragment.SizeFor(int64(packed.Len())), func(instruction.Fragment, []byte) error { return nil })
	require.NoError(t, err)
	a.Format = release.ArchiveFormat
	sum := sha256.Sum256(program)
	return release.Build{OS: goos, Arch: goarch, Archive: a, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(program))}, packed.Bytes()
}

// NewRelease is a release of the builds, issued now, with an id of its own.
func NewRelease(t testing.TB, version string, builds ...release.Build) *release.Release {
	t.Helper()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	r := &release.Release{Format: release.Format, ID: id.String(), Version: version, Builds: builds}
	r.Stamp(time.Now(), 0)
	return r
}

// SignRelease is the envelope of a release.
func SignRelease(t testing.TB, r *release.Release, keys ...trust.PrivateKey) []byte {
	t.Helper()
	payload, err := r.Encode()
	require.NoError(t, err)
	envelope, err := trust.SignEnvelope(release.PayloadType, payload, keys...)
	require.NoError(t, err)
	return envelope
}

// TrustKey lets the server's trust document name a key, unless it does so already.
func (s *Server) TrustKey(t testing.TB, admin *Client, k trust.PrivateKey, roles ...trust.Role) {
	t.Helper()
	res := admin.Do(t, http.MethodPost, api.Path+"/trust/keys", map[string]any{"public": []byte(k.PublicKey()), "roles": roles})
	require.Contains(t, []int{http.StatusOK, http.StatusConflict}, res.Status, "%s", res.Body)
}

// Upload sends a file as a resumable upload, finishes it, and returns its id.
func (s *Server) Upload(t testing.TB, admin *Client, name string, data []byte) string {
	t.Helper()
	var up struct {
		ID string `json:"id"`
	}
	admin.Do(t, http.MethodPost, api.Path+"/uploads", map[string]any{"file_name": name, "size": len(data)}).JSON(t, http.StatusCreated, &up)
	path := api.Path + "/uploads/" + up.ID
	admin.Do(t, http.MethodPatch, path, Raw{Type: "application/octet-stream", Data: data}, "Upload-Offset", "0").JSON(t, http.StatusOK, nil)
	sum := sha256.Sum256(data)
	admin.Do(t, http.MethodPost, path+"/finish", map[string]any{"sha256": hex.EncodeToString(sum[:])}).JSON(t, http.StatusOK, nil)
	return up.ID
}

// Release registers a release for linux/amd64 that the key has signed and returns its id.
func (s *Server) Release(t testing.TB, admin *Client, k trust.PrivateKey, version string) string {
	t.Helper()
	s.TrustKey(t, admin, k, trust.RoleRelease)
	build, packed := Build(t, "linux", "amd64", []byte("the program of "+version))
	r := NewRelease(t, version, build)
	admin.Do(t, http.MethodPost, api.Path+"/releases", map[string]any{
		"envelope": SignRelease(t, r, k), "upload_ids": []string{s.Upload(t, admin, "agent.tar.gz", packed)},
	}).JSON(t, http.StatusCreated, nil)
	return r.ID
}
