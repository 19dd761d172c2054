package inventory_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/agent/internal/task/inventory"
	"github.com/muster/muster/packages/protocol"
)

// sender is a device that sends inventories of made-up sections to a server that speaks the protocol.
type sender struct {
	t        *testing.T
	server   *agenttest.Server
	data     string
	sections []inventory.Section
	asked    inventory.Options
	events   []task.Event
}

func newSender(t *testing.T) *sender {
	t.Helper()
	s := &sender{t: t, server: agenttest.New(t), data: t.TempDir()}
	_, _, err := identity.Enroll(t.Context(), identity.Open(s.data, "test"), s.server.Enrollment(), protocol.Facts{})
	require.NoError(t, err)
	s.sections = []inventory.Section{section("cpus", `{"key":"socket-0","name":"EPYC"}`), section("software", `{"key":"a"}`, `{"key":"b"}`)}
	return s
}

func section(name string, rows ...string) inventory.Section {
	lines := strings.Join(rows, "\n") + "\n"
	sum := sha256.Sum256([]byte(lines))
	return inventory.Section{Name: name, Lines: []byte(lines), Rows: len(rows), SHA256: hex.EncodeToString(sum[:])}
}

func (s *sender) run(of protocol.Task) (task.End, error) {
	s.t.Helper()
	s.events = nil
	tk := inventory.Task{Take: func(_ context.Context, o inventory.Options) []inventory.Section {
		s.asked = o
		return append([]inventory.Section(nil), s.sections...)
	}}
	of.Kind = protocol.TaskInventory
	err := tk.Run(s.t.Context(), task.Input{DataDir: s.data, Server: "test", Task: of, Processes: true}, func(e task.Event) error {
		s.events = append(s.events, e)
		return nil
	}, slog.New(slog.DiscardHandler))
	for _, e := range s.events {
		if e.End != nil {
			return *e.End, err
		}
	}
	return task.End{}, err
}

func TestTask_sendsWhatTheServerLacks(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	end, err := s.run(protocol.Task{})
	require.NoError(t, err)
	require.Equal(t, protocol.StateSucceeded, end.State)
	require.Equal(t, []string{"cpus", "software"}, s.server.Puts())
	require.Len(t, s.events, 1, "what nobody asked for is not reported")
	require.True(t, s.asked.Processes)

	_, err = s.run(protocol.Task{})
	require.NoError(t, err)
	require.Len(t, s.server.Puts(), 2, "nothing changed")

	s.sections[1] = section("software", `{"key":"a"}`)
	_, err = s.run(protocol.Task{})
	require.NoError(t, err)
	require.Equal(t, []string{"cpus", "software", "software"}, s.server.Puts(), "only what changed")

	s.server.Lose("cpus")
	_, err = s.run(protocol.Task{})
	require.NoError(t, err)
	require.Equal(t, []string{"cpus", "software", "software", "cpus"}, s.server.Puts(), "and what the server has lost")
	require.Len(t, s.server.Inventories(), 4)
}

func TestTask_aSectionThatFailedKeepsTheOthers(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	s.sections[0] = inventory.Section{Name: "cpus", Problem: strings.Repeat("no answer ", 1000)}
	huge := inventory.Section{Name: "huge", Rows: protocol.MaxSectionRows + 1, SHA256: s.sections[1].SHA256, Lines: []byte("{}\n")}
	s.sections = append(s.sections, huge)
	end, err := s.run(protocol.Task{})
	require.NoError(t, err)
	require.Equal(t, protocol.StateSucceeded, end.State)
	require.Equal(t, []string{"software"}, s.server.Puts())
	heads := s.server.Inventories()[0].Sections
	require.Contains(t, heads[0].Problem, "no answer")
	require.Less(t, len(heads[0].Problem), 1000)
	require.Contains(t, heads[2].Problem, "more than")
}

func TestTask_reportsOneThatWasAskedFor(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	tk := protocol.Task{ID: uuid.NewString(), Inventory: &protocol.InventoryTask{Sections: []string{"cpus"}}}
	_, err := s.run(tk)
	require.NoError(t, err)
	require.Equal(t, []string{"cpus"}, s.asked.Sections)
	require.Len(t, s.events, 3)
	require.Equal(t, protocol.StateAccepted, s.events[0].Report.Task.State)
	last := s.events[1].Report
	require.Equal(t, protocol.StateSucceeded, last.Task.State)
	require.Equal(t, protocol.ReasonDone, last.Task.Reason)
	require.Equal(t, tk.ID, last.Task.TaskID)
	require.NoError(t, last.Validate())
	require.Contains(t, last.Task.Message, "2 sections, 2 of them new")

	_, err = s.run(tk)
	require.NoError(t, err)
	require.Len(t, s.server.Inventories(), 1, "it is not made twice")
	require.Equal(t, last.ID, s.events[1].Report.ID, "the same report again")
}

func TestTask_whenTheServerDoesNotTakeIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		state  protocol.State
	}{
		"no such thing":     {http.StatusNotFound, protocol.StateFailed},
		"not this device's": {http.StatusForbidden, protocol.StateFailed},
		"overload":          {http.StatusServiceUnavailable, protocol.StateWaiting},
		"not known now":     {http.StatusUnauthorized, protocol.StateWaiting},
		"too often":         {http.StatusTooManyRequests, protocol.StateWaiting},
		"changed meanwhile": {http.StatusConflict, protocol.StateWaiting},
	} {
		s := newSender(t)
		s.server.Lock()
		s.server.Fail = func(w http.ResponseWriter, r *http.Request) int {
			w.Header().Set("Retry-After", "90")
			return c.status
		}
		s.server.Unlock()
		end, err := s.run(protocol.Task{ID: uuid.NewString()})
		require.NoError(t, err, name)
		require.Equal(t, c.state, end.State, name)
		require.Contains(t, end.Problem, "made to fail", name)
		if c.state == protocol.StateWaiting {
			require.WithinDuration(t, time.Now().Add(90*time.Second), end.NextTry, 30*time.Second, name)
			continue
		}
		require.Equal(t, protocol.StateFailed, s.events[len(s.events)-2].Report.Task.State, name)
	}
}

func TestTask_aServerThatIsAwayIsTriedLater(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	path := filepath.Join(s.data, "servers", "test", "identity.json")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(b), s.server.URL(), fmt.Sprintf("https://127.0.0.1:%d", 1))), 0o600))
	end, err := s.run(protocol.Task{})
	require.NoError(t, err)
	require.Equal(t, protocol.StateWaiting, end.State)
	require.Contains(t, end.Problem, "cannot be reached")
	require.Empty(t, s.server.Inventories())
}
