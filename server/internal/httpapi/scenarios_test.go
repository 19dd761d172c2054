package httpapi_test

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/trust"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/servertest"
)

type maker = func(*testing.T, *world) request

// at is a request without a body.
func at(path string) maker { return send(path, nil) }

// send is a request with a JSON body; nil for none.
func send(path string, body map[string]any) maker {
	return func(*testing.T, *world) request {
		if body == nil {
			return request{path: path}
		}
		return request{path: path, body: maps.Clone(body)}
	}
}

// on is a request about something that is made for it.
func on(before string, thing func(*world, *testing.T) string, after string) maker {
	return func(t *testing.T, w *world) request { return request{path: before + thing(w, t) + after} }
}

// scenarios is the table: one entry per operation of the admin API.
var scenarios = merge(
	map[string]scenario{
		"login": {good: func(_ *testing.T, w *world) request {
			return request{path: "/login", body: map[string]any{"username": "admin", "password": w.Password}}
		}},
		"logout":          {good: at("/logout"), done: func(t *testing.T, w *world, _ request) { w.admin = w.Session(t) }},
		"get-me":          {good: at("/me")},
		"change-password": changePassword,
		"get-server":      {good: at("/server")},
		"list-audit":      {good: at("/audit?q=login")},

		"list-api-tokens":  {good: at("/api-tokens")},
		"create-api-token": {good: send("/api-tokens", map[string]any{"name": "ci", "expires_in_days": 3})},
		"delete-api-token": {good: on("/api-tokens/", func(w *world, t *testing.T) string {
			return w.make(t, "/api-tokens", map[string]any{"name": "gone"})
		}, "")},

		"get-trust":           {good: at("/trust")},
		"publish-trust":       {good: nextTrust},
		"cosign-trust":        {good: proposedTrust, conflict: staleTrust},
		"rotate-trust-keys":   {good: at("/trust/rotation")},
		"remove-trust-key":    {good: extraAuthor, conflict: theRoot},
		"add-trust-key":       {good: newAuthor, conflict: knownAuthor},
		"revoke-instructions": {good: send("/trust/revocations", map[string]any{"names": []string{"01900000-0000-7000-8000-000000000001"}})},
	},
	uploadScenarios, packageScenarios, deviceScenarios, deploymentScenarios, taskScenarios, inventoryScenarios, logScenarios, releaseScenarios, groupScenarios,
)

func merge(tables ...map[string]scenario) map[string]scenario {
	all := map[string]scenario{}
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}

// changePassword ends all other sessions, so the world logs in anew.
var changePassword = scenario{
	good: func(_ *testing.T, w *world) request {
		return request{path: "/me/password", body: map[string]any{"current": w.Password, "new": w.Password + "x"}}
	},
	done: func(t *testing.T, w *world, _ request) {
		w.Password += "x"
		w.admin = w.Session(t)
	},
}

var uploadScenarios = map[string]scenario{
	"create-upload": {good: send("/uploads", map[string]any{"file_name": "tool.zip", "size": 100})},
	"get-upload":    {good: on("/uploads/", (*world).upload, "")},
	"delete-upload": {good: on("/uploads/", (*world).upload, "")},
	"append-upload": {
		good:     func(t *testing.T, w *world) request { return octets(t, w, "0") },
		conflict: func(t *testing.T, w *world) request { return octets(t, w, "7") },
	},
	"finish-upload": {
		good: func(t *testing.T, w *world) request {
			id := w.upload(t)
			res := w.admin.Do(t, http.MethodPatch, api.Path+"/uploads/"+id, octetStream(archive(t)), "Upload-Offset", "0")
			require.Equal(t, 200, res.Status, "%s", res.Body)
			return request{path: "/uploads/" + id + "/finish", body: map[string]any{"sha256": digest(archive(t))}}
		},
		conflict: func(t *testing.T, w *world) request {
			return request{path: "/uploads/" + w.upload(t) + "/finish", body: map[string]any{"sha256": digest(archive(t))}}
		},
	},
}

func octets(t *testing.T, w *world, offset string) request {
	t.Helper()
	return request{path: "/uploads/" + w.upload(t), body: octetStream(archive(t)), header: []string{"Upload-Offset", offset}}
}

func octetStream(data []byte) servertest.Raw {
	return servertest.Raw{Type: "application/octet-stream", Data: data}
}

func archive(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create("hello.sh")
	require.NoError(t, err)
	_, err = f.Write([]byte("#!/bin/sh\necho hello\n"))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

var packageScenarios = map[string]scenario{
	"list-packages": {good: at("/packages?state=active")},
	"get-package":   {good: on("/packages/", (*world).draft, "")},
	"create-package": {
		good: func(_ *testing.T, w *world) request { return request{path: "/packages", body: w.spec()} },
		conflict: func(t *testing.T, w *world) request {
			spec := w.spec()
			w.make(t, "/packages", spec)
			return request{path: "/packages", body: spec}
		},
	},
	"delete-package":  {good: on("/packages/", (*world).draft, ""), conflict: on("/packages/", (*world).active, "")},
	"get-instruction": {good: on("/packages/", (*world).draft, "/instruction")},
	"put-instruction": {good: func(t *testing.T, w *world) request {
		id := w.signed(t)
		var i struct {
			Envelope string `json:"envelope"`
		}
		w.admin.Do(t, http.MethodGet, api.Path+"/packages/"+id+"/instruction", nil).JSON(t, 200, &i)
		return request{path: "/packages/" + id + "/instruction", body: map[string]any{"envelope": i.Envelope}}
	}},
	"sign-package": {good: func(t *testing.T, w *world) request {
		return request{path: "/packages/" + w.draft(t) + "/sign", body: map[string]any{"expires_in_days": 30}}
	}},
	"activate-package": {good: on("/packages/", (*world).signed, "/activate"), conflict: on("/packages/", (*world).draft, "/activate")},
	"retire-package":   {good: on("/packages/", (*world).active, "/retire")},
}

var deviceScenarios = map[string]scenario{
	"list-enrollment-tokens": {good: at("/enrollment-tokens")},
	"create-enrollment-token": {good: send("/enrollment-tokens", map[string]any{
		"name": "lab", "max_uses": 2, "expires_in_hours": 1, "needs_approval": true,
	})},
	"revoke-enrollment-token": {good: on("/enrollment-tokens/", func(w *world, t *testing.T) string {
		return w.make(t, "/enrollment-tokens", map[string]any{"name": "gone"})
	}, "")},
	"list-devices":   {good: at("/devices?state=active")},
	"get-device":     {good: on("/devices/", (*world).device, "")},
	"approve-device": {good: on("/devices/", (*world).device, "/approve")},
	"revoke-device":  {good: on("/devices/", (*world).device, "/revoke")},
	"wake-device":    {good: on("/devices/", (*world).device, "/wakeup")},
}

var deploymentScenarios = map[string]scenario{
	"create-assignment": {
		good: func(t *testing.T, w *world) request {
			return request{path: "/assignments", body: map[string]any{"package_id": w.active(t), "device_ids": []string{w.device(t)}}}
		},
		conflict: func(t *testing.T, w *world) request {
			return request{path: "/assignments", body: map[string]any{"package_id": w.draft(t), "device_ids": []string{w.device(t)}}}
		},
	},
	"list-assignments":  {good: at("/assignments")},
	"get-assignment":    {good: on("/assignments/", (*world).assignment, "")},
	"delete-assignment": {good: on("/assignments/", (*world).assignment, "")},
	"list-deployments":  {good: at("/deployments?open=true")},
	"get-deployment":    {good: on("/deployments/", (*world).deployment, "")},
	"cancel-deployment": {good: on("/deployments/", (*world).deployment, "/cancel"), conflict: on("/deployments/", (*world).cancelled, "/cancel")},
	"retry-deployment":  {good: on("/deployments/", (*world).cancelled, "/retry"), conflict: on("/deployments/", (*world).deployment, "/retry")},
}

var taskScenarios = map[string]scenario{
	"list-tasks":        {good: at("/tasks?kind=inventory&open=true")},
	"list-device-tasks": {good: on("/devices/", (*world).device, "/tasks")},
	"get-task":          {good: on("/tasks/", (*world).task, "")},
	"cancel-task": {good: on("/tasks/", (*world).task, "/cancel"), conflict: on("/tasks/", func(w *world, t *testing.T) string {
		id := w.task(t)
		w.act(t, "/tasks/"+id+"/cancel", nil)
		return id
	}, "/cancel")},
	"request-inventory": {good: inventoryOf((*world).device), conflict: inventoryOf((*world).revoked)},
	"run-device-module": {good: moduleOf((*world).device), conflict: moduleOf((*world).revoked)},
	"remove-device":     {good: on("/devices/", (*world).device, "/remove"), conflict: on("/devices/", (*world).revoked, "/remove")},
}

func moduleOf(device func(*world, *testing.T) string) maker {
	return func(t *testing.T, w *world) request {
		return request{path: "/devices/" + device(w, t) + "/modules/ports/run", body: map[string]any{"parameters": map[string]any{"protocol": "tcp"}}}
	}
}

func inventoryOf(device func(*world, *testing.T) string) maker {
	return func(t *testing.T, w *world) request {
		return request{path: "/devices/" + device(w, t) + "/inventory", body: map[string]any{"sections": []string{"software"}}}
	}
}

// newAuthor is a key that nobody has seen before.
func newAuthor(t *testing.T, _ *world) request {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return request{path: "/trust/keys", body: map[string]any{"public": []byte(public), "roles": []string{"author"}}}
}

// knownAuthor is one that is trusted already.
func knownAuthor(t *testing.T, w *world) request {
	t.Helper()
	r := newAuthor(t, w)
	w.admin.Do(t, http.MethodPost, api.Path+r.path, r.body).JSON(t, http.StatusOK, nil)
	return r
}

// extraAuthor is a trusted key that nobody needs.
func extraAuthor(t *testing.T, w *world) request {
	t.Helper()
	r := knownAuthor(t, w)
	public, ok := r.body.(map[string]any)["public"].([]byte)
	require.True(t, ok)
	return request{path: "/trust/keys/" + trust.KeyID(public)}
}

// theRoot is a key that the server does not remove by itself.
func theRoot(t *testing.T, w *world) request {
	t.Helper()
	present, _ := presentTrust(t, w)
	return request{path: "/trust/keys/" + present.RootFingerprint}
}

type shownTrust struct {
	Envelope        []byte `json:"envelope"`
	RootFingerprint string `json:"root_fingerprint"`
}

func presentTrust(t *testing.T, w *world) (shownTrust, *trust.Document) {
	t.Helper()
	var now shownTrust
	w.admin.Do(t, http.MethodGet, api.Path+"/trust", nil).JSON(t, 200, &now)
	doc, err := trust.VerifyChain(now.RootFingerprint, nil, [][]byte{now.Envelope})
	require.NoError(t, err)
	return now, doc
}

// proposedTrust is the next document with one more author, signed by nobody yet.
func proposedTrust(t *testing.T, w *world) request {
	t.Helper()
	_, doc := presentTrust(t, w)
	author, err := trust.GenerateKey()
	require.NoError(t, err)
	next, err := doc.Next(trust.Change{Add: []trust.Key{author.Entry(trust.RoleAuthor)}}, time.Now())
	require.NoError(t, err)
	envelope, err := next.Propose()
	require.NoError(t, err)
	return request{path: "/trust/signature", body: map[string]any{"envelope": base64.StdEncoding.EncodeToString(envelope)}}
}

// staleTrust was made from a document that is not in force any more.
func staleTrust(t *testing.T, w *world) request {
	t.Helper()
	r := proposedTrust(t, w)
	newer := proposedTrust(t, w)
	w.admin.Do(t, http.MethodPost, api.Path+newer.path, newer.body).JSON(t, http.StatusOK, nil)
	return r
}

// nextTrust is the present trust document with the next version, signed by its root.
func nextTrust(t *testing.T, w *world) request {
	t.Helper()
	var now struct {
		Envelope []byte `json:"envelope"`
		Version  int    `json:"version"`
	}
	w.admin.Do(t, http.MethodGet, api.Path+"/trust", nil).JSON(t, 200, &now)
	root, err := trust.LoadKey(filepath.Join(w.Config.Data, "keys", "root.pem"))
	require.NoError(t, err)
	server, err := trust.LoadKey(filepath.Join(w.Config.Data, "keys", "server.pem"))
	require.NoError(t, err)
	doc := &trust.Document{Format: trust.Format, Version: now.Version + 1, IssuedAt: time.Now().UTC().Truncate(time.Second), Keys: []trust.Key{
		root.Entry(trust.RoleRoot), server.Entry(trust.RoleServer),
	}}
	envelope, err := doc.Sign(root)
	require.NoError(t, err)
	return request{path: "/trust", body: map[string]any{"envelope": base64.StdEncoding.EncodeToString(envelope)}}
}

// make creates something as admin and returns its id.
func (w *world) make(t *testing.T, path string, body map[string]any) string {
	t.Helper()
	var made struct {
		ID string `json:"id"`
	}
	res := w.admin.Do(t, http.MethodPost, api.Path+path, body)
	require.Less(t, res.Status, 300, "%s: %s", path, res.Body)
	res.JSON(t, res.Status, &made)
	require.NotEmpty(t, made.ID)
	return made.ID
}

// act does something to a thing as admin.
func (w *world) act(t *testing.T, path string, body any) {
	t.Helper()
	res := w.admin.Do(t, http.MethodPost, api.Path+path, body)
	require.Less(t, res.Status, 300, "%s: %s", path, res.Body)
}

func (w *world) upload(t *testing.T) string {
	return w.make(t, "/uploads", map[string]any{"file_name": "tool.zip", "size": len(archive(t))})
}

func (w *world) spec() map[string]any {
	w.made++
	return map[string]any{"name": fmt.Sprint("tool ", w.made), "version": "1.0", "action": "execute", "command": []string{"/bin/true"}}
}

func (w *world) draft(t *testing.T) string { return w.make(t, "/packages", w.spec()) }

func (w *world) signed(t *testing.T) string {
	id := w.draft(t)
	w.act(t, "/packages/"+id+"/sign", map[string]any{})
	return id
}

func (w *world) active(t *testing.T) string {
	id := w.signed(t)
	w.act(t, "/packages/"+id+"/activate", nil)
	return id
}

func (w *world) device(t *testing.T) string {
	w.made++
	return w.Enroll(t, w.admin, fmt.Sprint("pc", w.made)).ID
}

func (w *world) revoked(t *testing.T) string {
	id := w.device(t)
	w.act(t, "/devices/"+id+"/revoke", nil)
	return id
}

func (w *world) task(t *testing.T) string {
	return w.make(t, "/devices/"+w.device(t)+"/inventory", map[string]any{})
}

func (w *world) assignment(t *testing.T) string {
	return w.make(t, "/assignments", map[string]any{"package_id": w.active(t), "device_ids": []string{w.device(t)}})
}

func (w *world) deployment(t *testing.T) string {
	var page struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	w.admin.Do(t, http.MethodGet, api.Path+"/deployments?assignment_id="+w.assignment(t), nil).JSON(t, 200, &page)
	require.Len(t, page.Items, 1)
	return page.Items[0].ID
}

func (w *world) cancelled(t *testing.T) string {
	id := w.deployment(t)
	w.act(t, "/deployments/"+id+"/cancel", nil)
	return id
}
