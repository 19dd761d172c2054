package httpapi_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/trust"
	"github.com/muster/muster/server/internal/servertest"
)

var releaseScenarios = map[string]scenario{
	"list-releases":  {good: at("/releases?state=active&q=1.")},
	"create-release": {good: newRelease, conflict: sameRelease},
	"get-release":    {good: on("/releases/", (*world).release, "")},
	"retire-release": {good: on("/releases/", (*world).release, "/retire")},
	"create-update":  {good: newUpdate, conflict: secondUpdate},
}

// signer is the key of those who release agents.
func (w *world) signer(t *testing.T) trust.PrivateKey {
	t.Helper()
	if w.releaser == nil {
		k, err := trust.GenerateKey()
		require.NoError(t, err)
		w.releaser = &k
	}
	w.TrustKey(t, w.admin, *w.releaser, trust.RoleRelease) // other scenarios publish documents of their own
	return *w.releaser
}

// version is one that no release has yet.
func (w *world) version() string {
	w.made++
	return fmt.Sprintf("1.%d.0", w.made)
}

func (w *world) release(t *testing.T) string {
	t.Helper()
	return w.Release(t, w.admin, w.signer(t), w.version())
}

func newRelease(t *testing.T, w *world) request {
	t.Helper()
	build, packed := servertest.Build(t, "linux", "amd64", []byte("program"))
	return request{path: "/releases", body: map[string]any{
		"envelope":   servertest.SignRelease(t, servertest.NewRelease(t, w.version(), build), w.signer(t)),
		"upload_ids": []string{w.Upload(t, w.admin, "agent.tar.gz", packed)},
	}}
}

// sameRelease is registered already.
func sameRelease(t *testing.T, w *world) request {
	t.Helper()
	r := newRelease(t, w)
	w.act(t, r.path, r.body)
	return r
}

func newUpdate(t *testing.T, w *world) request {
	t.Helper()
	return request{path: "/updates", body: map[string]any{"release_id": w.release(t), "device_ids": []string{w.device(t)}, "probation_seconds": 60}}
}

// secondUpdate is for a device that has an open one.
func secondUpdate(t *testing.T, w *world) request {
	t.Helper()
	r := newUpdate(t, w)
	w.act(t, r.path, r.body)
	return r
}
