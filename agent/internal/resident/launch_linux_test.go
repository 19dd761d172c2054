package resident

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/packages/protocol"
)

// ways are both in which an agent works.
var ways = map[string]func(*Resident, *testing.T) error{
	"run":  func(r *Resident, t *testing.T) error { return r.Run(t.Context()) },
	"once": func(r *Resident, t *testing.T) error { return r.Once(t.Context()) },
}

// work lets a resident work to its own end.
func (b *bench) work(t *testing.T, way func(*Resident, *testing.T) error, trial *launch.Trial) error {
	t.Helper()
	r, err := New(Options{DataDir: b.data, Config: b.config, Log: slog.New(slog.NewTextHandler(&b.log, nil)), Trial: trial})
	require.NoError(t, err)
	err = way(r, t)
	require.NoError(t, r.Close())
	return err
}

// TestTrial: an agent on trial checks in at once where it has to, whenever its next check-in is due, says so to the
// launcher, and begins nothing that it is offered, nor goes on with what was begun.
func TestTrial(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "office", "other")
			require.NoError(t, identity.Open(b.data, "office").SaveState(identity.State{NextCheckIn: time.Now().Add(10 * time.Minute)}))
			for _, s := range b.servers {
				s.Offer(taskOf(protocol.TaskUninstall), deployTask(0))
			}
			require.NoError(t, os.Mkdir(filepath.Join(b.data, launch.Folder), 0o700))
			require.ErrorIs(t, b.work(t, way, &launch.Trial{Task: "the-task", Server: "office"}), ErrProved, &b.log)
			evidence, err := os.ReadFile(filepath.Join(b.data, launch.Folder, "evidence"))
			require.NoError(t, err)
			require.Equal(t, "the-task\n", string(evidence))
			require.Empty(t, b.ledger())
		})
	}
}

// TestRestart: when an update is ready, the agent ends at once, and begins nothing of what else is offered.
func TestRestart(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "office")
			b.servers["office"].Offer(deployTask(1), taskOf(protocol.TaskUninstall), taskOf(protocol.TaskUpdate))
			require.ErrorIs(t, b.work(t, way, nil), ErrRestart, &b.log)
			var changes []string
			for _, line := range b.ledger() {
				if line != "begin inventory office" && line != "end inventory office" { // beside it
					changes = append(changes, line)
				}
			}
			require.Equal(t, []string{"begin update office", "end update office"}, changes)
		})
	}
}
