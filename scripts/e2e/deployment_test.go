package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type device struct {
	ID        string `json:"id"`
	Hostname  string `json:"hostname"`
	State     string `json:"state"`
	Connected bool   `json:"connected"`
}

type deployment struct {
	ID        string    `json:"id"`
	PackageID string    `json:"package_id"`
	DeviceID  string    `json:"device_id"`
	Priority  int       `json:"priority"`
	State     string    `json:"state"`
	Reason    string    `json:"reason"`
	Summary   string    `json:"summary"`
	Attempt   int       `json:"attempt"`
	ExitCode  *int      `json:"exit_code"`
	Output    string    `json:"output"`
	UpdatedAt time.Time `json:"updated_at"`
	Timeline  []entry   `json:"timeline"`
}

type entry struct {
	Seq      int       `json:"seq"`
	Time     time.Time `json:"time"`
	Source   string    `json:"source"`
	Attempt  int       `json:"attempt"`
	State    string    `json:"state"`
	Reason   string    `json:"reason"`
	Message  string    `json:"message"`
	ExitCode *int      `json:"exit_code"`
	WaitsFor string    `json:"waits_for"`

	NextAt *time.Time `json:"next_at"`
}

// story is the timeline in short, for failure messages.
func (d deployment) story() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %q attempt %d", d.State, d.Reason, d.Summary, d.Attempt)
	for _, e := range d.Timeline {
		fmt.Fprintf(&b, "\n  %s #%d %s %s: %s", e.Source, e.Attempt, e.State, e.Reason, e.Message)
	}
	return b.String()
}

// entry is the first row of the timeline with this state and reason.
func (d deployment) entry(state, reason string) *entry {
	for i, e := range d.Timeline {
		if e.State == state && (reason == "" || e.Reason == reason) {
			return &d.Timeline[i]
		}
	}
	return nil
}

// spec is a package to be made; zero Priority means 0, the highest.
type spec struct {
	Name     string
	Priority int
	Action   string
	Command  []string
	Store    string
	Archive  []byte
	File     string // name of the uploaded file
	More     map[string]any
}

// upload sends an archive in two pieces and finishes it.
func (s *server) upload(t *testing.T, file string, archive []byte) string {
	t.Helper()
	var up struct {
		ID     string `json:"id"`
		Offset int64  `json:"offset"`
		State  string `json:"state"`
	}
	s.call(t, "POST", "/uploads", map[string]any{"file_name": file, "size": len(archive)}, &up)
	for half := len(archive) / 2; up.Offset < int64(len(archive)); half = len(archive) {
		offset := strconv.FormatInt(up.Offset, 10)
		status, body := s.try(t, "PATCH", "/uploads/"+up.ID, archive[up.Offset:half], "Upload-Offset", offset)
		require.Equal(t, 200, status, string(body))
		require.NoError(t, json.Unmarshal(body, &up))
	}
	sum := sha256.Sum256(archive)
	s.call(t, "POST", "/uploads/"+up.ID+"/finish", map[string]any{"sha256": hex.EncodeToString(sum[:])}, &up)
	require.Equal(t, "finished", up.State)
	return up.ID
}

// offer makes, signs and activates a package.
func (s *server) offer(t *testing.T, p spec) string {
	t.Helper()
	body := map[string]any{"name": p.Name, "version": "1.0", "priority": p.Priority, "action": p.Action}
	if p.Command != nil {
		body["command"] = p.Command
	}
	if p.Store != "" {
		body["store_path"] = p.Store
	}
	if p.Archive != nil {
		body["upload_id"] = s.upload(t, p.File, p.Archive)
	}
	for key, value := range p.More {
		body[key] = value
	}
	var made struct {
		ID string `json:"id"`
	}
	s.call(t, "POST", "/packages", body, &made)
	s.call(t, "POST", "/packages/"+made.ID+"/sign", map[string]any{}, nil)
	s.call(t, "POST", "/packages/"+made.ID+"/activate", nil, nil)
	return made.ID
}

// offerGated makes a package whose command runs the shell code before, waits until the file gate is made, and
// runs the code after.
func (s *server) offerGated(t *testing.T, name, before, after string, more map[string]any) (packageID, gate string) {
	t.Helper()
	gate = filepath.Join(t.TempDir(), "gate")
	script := strings.Join([]string{before, untilFile(gate), after}, "; ")
	return s.offer(t, spec{Name: name, Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", script}, More: more}), gate
}

// assign gives a package to a device and returns the deployment and the assignment.
func (s *server) assign(t *testing.T, packageID, deviceID string) (deploymentID, assignmentID string) {
	t.Helper()
	var made struct {
		ID          string `json:"id"`
		Deployments []struct {
			ID string `json:"id"`
		} `json:"deployments"`
	}
	s.call(t, "POST", "/assignments", map[string]any{"package_id": packageID, "device_ids": []string{deviceID}}, &made)
	require.Len(t, made.Deployments, 1)
	return made.Deployments[0].ID, made.ID
}

func (s *server) deployment(t *testing.T, id string) deployment {
	t.Helper()
	var d deployment
	s.call(t, "GET", "/deployments/"+id, nil, &d)
	return d
}

func (s *server) devices(t *testing.T) []device {
	t.Helper()
	var page struct {
		Items []device `json:"items"`
	}
	s.call(t, "GET", "/devices?"+url.Values{"limit": {"200"}}.Encode(), nil, &page)
	return page.Items
}

// awaitState waits until a deployment is in one of the states; another final state fails at once.
func (s *server) awaitState(t *testing.T, id string, states ...string) deployment {
	t.Helper()
	return s.awaitLong(t, id, patience, states...)
}

// awaitLong is awaitState for what takes its time.
func (s *server) awaitLong(t *testing.T, id string, limit time.Duration, states ...string) deployment {
	t.Helper()
	final := []string{"succeeded", "refused", "interrupted", "not_applicable", "cancelled", "unassigned", "expired"}
	var d deployment
	awaitFor(t, limit, "deployment "+strings.Join(states, " or "), func() (bool, string) {
		d = s.deployment(t, id)
		ok := slices.Contains(states, d.State)
		require.False(t, !ok && slices.Contains(final, d.State), "not %v but %s", states, d.story())
		return ok, d.story()
	})
	return d
}

// awaitEntry waits for a row in a deployment's timeline.
func (s *server) awaitEntry(t *testing.T, id, state, reason string) *entry {
	t.Helper()
	var e *entry
	await(t, state+" "+reason+" in the timeline", func() (bool, string) {
		d := s.deployment(t, id)
		e = d.entry(state, reason)
		return e != nil, d.story()
	})
	return e
}

func (s *server) awaitConnected(t *testing.T, deviceID string) {
	t.Helper()
	await(t, "the device's wakeup channel", func() (bool, string) {
		var d device
		s.call(t, "GET", "/devices/"+deviceID, nil, &d)
		return d.Connected, fmt.Sprintf("%+v", d)
	})
}
