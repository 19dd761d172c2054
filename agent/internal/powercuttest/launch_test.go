//go:build linux

package powercuttest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/scripts/chaos/recordos"
)

// launchScenario brings four releases into the slots: one that proves itself, one that does not, and two more that do.
// Wherever the power is cut, the state can be read, the program that was chosen last is whole, a trial that was armed is
// there with a whole program, and an outcome that was kept stays.
func launchScenario(t *testing.T, r *recording) {
	chosen := "" // version of the slot that must run; empty for the installed program
	promise := func(may []string, armed, last string) {
		must := chosen
		r.promise(func(t *testing.T, dir string) {
			s, err := launch.Load(dir)
			require.NoError(t, err, "the launcher's state cannot be read")
			runs := ""
			for _, slot := range []*launch.Slot{s.Previous, s.Current} {
				if slot != nil && slot.Check(dir) == nil {
					runs = slot.Version
				}
			}
			require.Contains(t, append(may, must), runs, "the program that was chosen is not whole")
			if s.Current != nil {
				require.NoError(t, s.Current.Check(dir), "the newest program is not whole")
			}
			if s.Trial != nil {
				require.NoError(t, s.Trial.Check(dir), "a program to be tried is not whole")
			}
			if armed != "" {
				require.NotNil(t, s.Trial, "an armed trial is gone")
				require.True(t, s.Trial.Armed)
				require.Equal(t, armed, s.Trial.Task)
			}
			if last != "" {
				require.Equal(t, last, s.Last.Task, "how a trial ended is forgotten")
			}
		})
	}
	last := ""
	for n, outcome := range []protocol.UpdateOutcome{protocol.UpdateInstalled, protocol.UpdateRolledBack, protocol.UpdateInstalled, protocol.UpdateInstalled} {
		version, task := fmt.Sprintf("1.%d.0", n+1), fmt.Sprint("task-", n)
		program := []byte(text(n + 3))
		sum := sha256.Sum256(program)
		promise(nil, "", last)
		require.NoError(t, atomicfile.MkdirAll(filepath.Join(r.dir, launch.Folder), 0o700))
		require.NoError(t, recordos.WriteFile(launch.Staging(r.dir), program, 0o600))
		_, err := launch.Stage(r.dir, "", launch.Trial{
			Slot: launch.Slot{Version: version, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(program))},
			Task: task, Server: "office", From: "1.0.0", ProbationMS: 1000,
		})
		require.NoError(t, err)
		promise(nil, "", last)
		require.NoError(t, launch.Arm(r.dir, task))
		promise(nil, task, last)
		if outcome == protocol.UpdateInstalled {
			require.NoError(t, launch.Prove(r.dir, task))
			promise([]string{version}, "", "")
		} else {
			promise(nil, "", "")
		}
		require.NoError(t, launch.Conclude(r.dir, launch.Outcome{Task: task, To: version, Outcome: outcome}))
		if outcome == protocol.UpdateInstalled {
			chosen = version
		}
		last = task
		promise(nil, "", last)
	}
}
