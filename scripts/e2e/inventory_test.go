package e2e_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver" // the server's own database, to lose something of it
	"github.com/stretchr/testify/require"
)

// section is one of a device's inventory, as the API shows it.
type section struct {
	Name       string     `json:"name"`
	Rows       int        `json:"rows"`
	ReceivedAt *time.Time `json:"received_at"`
	Problem    string     `json:"problem"`
}

// sections lists what the server has of a device's inventory.
func (s *server) sections(t *testing.T, device string) map[string]section {
	t.Helper()
	var list struct {
		Sections []section `json:"sections"`
	}
	s.call(t, "GET", "/devices/"+device+"/inventory", nil, &list)
	found := map[string]section{}
	for _, one := range list.Sections {
		found[one.Name] = one
	}
	return found
}

// serverTask is a task that is no deployment.
type serverTask struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// awaitTask waits until a task has reached a state.
func (s *server) awaitTask(t *testing.T, id, state string) serverTask {
	t.Helper()
	var task serverTask
	await(t, "task "+id+" is "+state, func() (bool, string) {
		s.call(t, "GET", "/tasks/"+id, nil, &task)
		return task.State == state, task.State + " " + task.Reason + " " + task.Message
	})
	return task
}

// takeInventory asks for an inventory and waits for its end.
func (s *server) takeInventory(t *testing.T, device string) serverTask {
	t.Helper()
	var task serverTask
	s.call(t, "POST", "/devices/"+device+"/inventory", map[string]any{}, &task)
	return s.awaitTask(t, task.ID, "succeeded")
}

// TestInventory: a device that is enrolled has its inventory on the server; then only what changed is sent,
// and what the server has lost.
func TestInventory(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := startAgent(t, s)
	always := []string{"system", "cpus", "filesystems", "interfaces", "users", "software"}
	var first map[string]section
	await(t, "the first inventory", func() (bool, string) {
		first = s.sections(t, a.device)
		for _, name := range always {
			if first[name].ReceivedAt == nil {
				return false, name + " is not there: " + a.output()
			}
		}
		return true, ""
	})
	require.GreaterOrEqual(t, len(first), 13, "%v", first) // processes are for those who ask
	for name, one := range first {
		require.True(t, one.ReceivedAt != nil || one.Problem != "", "%s is neither there nor missing for a reason", name)
	}
	require.Positive(t, first["software"].Rows)
	require.Positive(t, first["cpus"].Rows)

	task := s.takeInventory(t, a.device)
	require.Equal(t, "done", task.Reason)
	require.Contains(t, task.Message, "sections")
	second := s.sections(t, a.device)
	for _, name := range []string{"cpus", "software"} { // these do not change meanwhile
		require.Equal(t, first[name].ReceivedAt, second[name].ReceivedAt, "%s was sent again", name)
	}

	db, err := sql.Open("sqlite3", "file:"+filepath.Join(s.data, "muster.db")+"?mode=rw&_pragma=busy_timeout(10000)")
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), "DELETE FROM inventory_sections WHERE device_id = ? AND section = 'cpus'", a.device)
	require.NoError(t, err)
	require.NotContains(t, s.sections(t, a.device), "cpus")
	s.takeInventory(t, a.device)
	third := s.sections(t, a.device)
	require.Equal(t, first["cpus"].Rows, third["cpus"].Rows)
	require.Equal(t, first["software"].ReceivedAt, third["software"].ReceivedAt)

	// After a change of the computer the agent makes one by itself.
	_, err = db.ExecContext(t.Context(), "DELETE FROM inventory_sections WHERE device_id = ? AND section = 'cpus'", a.device)
	require.NoError(t, err)
	id, _ := s.assign(t, s.offer(t, spec{Name: "change", Priority: 5, Action: "execute", Command: []string{"/bin/true"}}), a.device)
	s.awaitState(t, id, "succeeded")
	await(t, "the inventory after a change", func() (bool, string) {
		_, there := s.sections(t, a.device)["cpus"]
		return there, a.output()
	})
}
