package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBackup: a server is backed up while it runs, destroyed and restored; the devices reconnect by
// themselves, history is there, and work goes on.
func TestBackup(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, database string) {
		s := startServer(t, database)
		a := startAgent(t, s)
		echo := spec{Name: "before", Priority: 5, Action: "launch", Command: []string{"say.sh"}, File: "say.tar.gz", Archive: tarGz(t, script("say.sh", "echo said before"))}
		packageID := s.offer(t, echo)
		before, _ := s.assign(t, packageID, a.device)
		story := s.awaitState(t, before, "succeeded").story()

		backup := filepath.Join(t.TempDir(), "backup")
		args := []string{"--data", s.data}
		if database != "" {
			args = append(args, "--database", database)
		}
		succeed(t, nil, "muster-server", append([]string{"backup", backup}, args...)...)

		s.stop(t)
		require.NoError(t, os.RemoveAll(s.data))
		if database != "" {
			database = newDatabase(t) // the old one is lost, too
			s.database = database
			args = []string{"--data", s.data, "--database", database}
		}
		succeed(t, nil, "muster-server", append([]string{"restore", backup}, args...)...)
		s.launch(t)

		s.awaitConnected(t, a.device)
		require.Equal(t, story, s.deployment(t, before).story(), "history is as it was")
		again, _ := s.assign(t, packageID, a.device)
		require.NotEqual(t, before, again)
		require.Contains(t, s.awaitState(t, again, "succeeded").Output, "said before", "fragments are there, too")
	})
}
