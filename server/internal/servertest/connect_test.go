package servertest_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/servertest"
)

// What one feature changes reaches the others: these tests hold the wiring, not the features.

type object = map[string]any

// activePackage uploads an archive and makes it an active package. It returns the package's id and the
// digest of the archive's only fragment.
func activePackage(t *testing.T, admin *servertest.Client, name string, more object) (id, fragment string) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create("setup.sh")
	require.NoError(t, err)
	_, err = f.Write([]byte("#!/bin/sh\necho " + name + "\n"))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	sum := sha256.Sum256(b.Bytes())
	fragment = hex.EncodeToString(sum[:])

	var upload, pkg struct {
		ID string `json:"id"`
	}
	admin.Do(t, http.MethodPost, api.Path+"/uploads", object{"file_name": "a.zip", "size": b.Len()}).JSON(t, http.StatusCreated, &upload)
	admin.Do(t, http.MethodPatch, api.Path+"/uploads/"+upload.ID, servertest.Raw{Type: "application/octet-stream", Data: b.Bytes()},
		"Upload-Offset", "0").JSON(t, http.StatusOK, nil)
	admin.Do(t, http.MethodPost, api.Path+"/uploads/"+upload.ID+"/finish", object{"sha256": fragment}).JSON(t, http.StatusOK, nil)
	spec := object{"name": name, "version": "1", "action": "launch", "command": []string{"setup.sh"}, "upload_id": upload.ID}
	for k, v := range more {
		spec[k] = v
	}
	admin.Do(t, http.MethodPost, api.Path+"/packages", spec).JSON(t, http.StatusCreated, &pkg)
	for _, step := range []string{"sign", "activate"} {
		admin.Do(t, http.MethodPost, api.Path+"/packages/"+pkg.ID+"/"+step, object{}).JSON(t, http.StatusOK, nil)
	}
	return pkg.ID, fragment
}

func checkIn(t *testing.T, d *servertest.Device) protocol.CheckInResponse {
	t.Helper()
	var answer protocol.CheckInResponse
	d.Do(t, http.MethodPost, protocol.PathCheckIn, protocol.CheckInRequest{Protocol: protocol.Version, InstanceID: d.ID}).JSON(t, http.StatusOK, &answer)
	return answer
}

type deployment struct {
	State  protocol.State  `json:"state"`
	Reason protocol.Reason `json:"reason"`
}

func assign(t *testing.T, admin *servertest.Client, pkg, device string) (deploymentID string) {
	t.Helper()
	var made struct {
		Deployments []struct {
			ID string `json:"id"`
		} `json:"deployments"`
	}
	admin.Do(t, http.MethodPost, api.Path+"/assignments", object{"package_id": pkg, "device_ids": []string{device}}).JSON(t, http.StatusCreated, &made)
	require.Len(t, made.Deployments, 1)
	return made.Deployments[0].ID
}

func TestApproval_releasesWhatWasAssigned(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, s *servertest.Server) {
		admin := s.Session(t)
		d := s.EnrollWith(t, admin, "pc-1", object{"needs_approval": true})
		pkg, _ := activePackage(t, admin, "tool", nil)
		id := assign(t, admin, pkg, d.ID)

		answer := checkIn(t, d)
		require.Equal(t, protocol.DevicePending, answer.State)
		require.Empty(t, answer.Tasks)
		var got deployment
		admin.Do(t, http.MethodGet, api.Path+"/deployments/"+id, nil).JSON(t, http.StatusOK, &got)
		require.Equal(t, deployment{protocol.StateWaiting, protocol.ReasonDevicePending}, got)

		admin.Do(t, http.MethodPost, api.Path+"/devices/"+d.ID+"/approve", nil).JSON(t, http.StatusOK, nil)
		answer = checkIn(t, d)
		require.Equal(t, protocol.DeviceActive, answer.State)
		require.Len(t, answer.Tasks, 1)
		require.Equal(t, id, answer.Tasks[0].Deploy.DeploymentID)
	})
}

func TestRevocation_endsWhatIsOpen(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, s *servertest.Server) {
		admin := s.Session(t)
		d := s.Enroll(t, admin, "pc-2")
		pkg, _ := activePackage(t, admin, "tool", nil)
		id := assign(t, admin, pkg, d.ID)
		require.Len(t, checkIn(t, d).Tasks, 1)

		admin.Do(t, http.MethodPost, api.Path+"/devices/"+d.ID+"/revoke", nil).JSON(t, http.StatusOK, nil)
		d.Do(t, http.MethodPost, protocol.PathCheckIn, protocol.CheckInRequest{Protocol: protocol.Version}).Problem(t, http.StatusUnauthorized)
		var got deployment
		admin.Do(t, http.MethodGet, api.Path+"/deployments/"+id, nil).JSON(t, http.StatusOK, &got)
		require.Equal(t, protocol.StateCancelled, got.State)
	})
}

func TestFragments_areSharedUnlessPrivate(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, s *servertest.Server) {
		admin := s.Session(t)
		d := s.Enroll(t, admin, "pc-3")
		_, shared := activePackage(t, admin, "tool", nil)
		_, secret := activePackage(t, admin, "licence", object{"private": true})
		stranger := s.Anonymous(t)

		answer := stranger.Do(t, http.MethodGet, protocol.PathFragment+"/"+shared, nil)
		require.Equal(t, http.StatusOK, answer.Status)
		require.Contains(t, answer.Header.Get("Cache-Control"), "public")

		stranger.Do(t, http.MethodGet, protocol.PathFragment+"/"+secret, nil).Problem(t, http.StatusUnauthorized)
		answer = d.Do(t, http.MethodGet, protocol.PathFragment+"/"+secret, nil)
		require.Equal(t, http.StatusOK, answer.Status)
		require.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
	})
}
