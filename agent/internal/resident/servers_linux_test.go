package resident

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/packages/protocol"
)

func (b *bench) serverNames() (names []string) {
	for _, u := range b.r.servers() {
		names = append(names, u.name)
	}
	return names
}

func TestRun_takesUpServersAndLetsGoOfThem(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run()
	require.Empty(t, b.serverNames(), "it waits for a server")
	b.enroll("one")
	b.await("the first server is taken up", func() bool { return b.servers["one"].Sockets() == 1 })
	b.enroll("two")
	b.awaitLedger("end inventory one", "end inventory two")
	require.Equal(t, []string{"one", "two"}, b.serverNames())

	// One whose folder has gone is let go of, with what its session wrote last, and disturbs nobody.
	folder := identity.Open(b.data, "one").Dir()
	b.await("the folder goes", func() bool { return os.RemoveAll(folder) == nil }) // its session may just write there
	b.await("the server is let go of", func() bool {
		_, err := os.Stat(folder)
		return os.IsNotExist(err) && slices.Equal(b.serverNames(), []string{"two"}) && b.servers["one"].Sockets() == 0
	})
	task := taskOf(protocol.TaskUninstall)
	b.servers["two"].Offer(task)
	b.servers["two"].Wakeup()
	b.await("the other server is served", func() bool { return slices.Contains(b.servers["two"].TaskStates(task.ID), "succeeded/done") })

	b.enroll("one")
	b.await("the name is free again", func() bool { return b.servers["one"].Sockets() == 1 })
}

// leave writes enrollment strings as an installer does.
func (b *bench) leave(perm os.FileMode, lines ...string) {
	require.NoError(b.t, os.WriteFile(filepath.Join(b.data, EnrollmentFile), []byte(strings.Join(lines, "\n")), perm))
}

func TestRun_triesTheEnrollmentStringsThatWereLeftForIt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	good, away, unwanted := agenttest.New(t), agenttest.New(t), agenttest.New(t)
	var isAway atomic.Bool
	isAway.Store(true)
	away.Lock()
	away.Fail = func(_ http.ResponseWriter, _ *http.Request) int {
		if isAway.Load() {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	away.Unlock()
	expired := unwanted.Enrollment()
	expired.Token = "expired"
	b.leave(0o644, "# left by the installer", away.Enrollment().String(), "MUSTER1-nonsense", expired.String(), good.Enrollment().String(), "")
	b.run()
	b.await("the good one succeeds", func() bool { return good.Sockets() == 1 })
	path := filepath.Join(b.data, EnrollmentFile)
	b.await("the one that is away stays, alone", func() bool {
		data, err := os.ReadFile(path)
		return err == nil && strings.TrimSpace(string(data)) == away.Enrollment().String()
	})
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	refused, err := os.ReadFile(filepath.Join(b.data, RefusedFile))
	require.NoError(t, err)
	require.Equal(t, "MUSTER1-nonsense\n"+expired.String()+"\n", string(refused))
	b.await("the status tells", func() bool {
		s := b.r.Status()
		return s.PendingEnrollments == 1 && strings.Contains(s.EnrollmentProblem, "made to fail")
	})

	isAway.Store(false)
	b.leave(0o600, away.Enrollment().String(), "") // written anew: it need not wait for its time
	b.await("the other one succeeds, too", func() bool { return away.Sockets() == 1 })
	b.await("the file is gone", func() bool {
		_, err := os.Stat(path)
		return os.IsNotExist(err) && b.r.Status().PendingEnrollments == 0
	})
	require.Equal(t, 1, good.Devices())
	require.Equal(t, 1, away.Devices())
	require.Contains(t, b.log.String(), "make a new one on the server")
	for _, s := range []*agenttest.Server{good, away, unwanted} {
		text := s.Enrollment().String()
		require.NotContains(t, b.log.String(), text[len(text)-40:], "a string is a secret")
	}

	// A crash between the success and the file: it is not enrolled twice.
	b.leave(0o600, good.Enrollment().String())
	good.Wakeup() // the file is looked at with each check-in
	b.await("the string is used up", func() bool {
		_, err := os.Stat(path)
		return os.IsNotExist(err)
	})
	require.Equal(t, 1, good.Devices())
}

func TestRun_aSlowServerDisturbsNoOther(t *testing.T) {
	t.Parallel()
	b := newBench(t, "quick", "slow")
	gate := make(chan struct{})
	t.Cleanup(func() { close(gate) })
	b.servers["slow"].Lock()
	b.servers["slow"].Fail = func(http.ResponseWriter, *http.Request) int {
		select {
		case <-gate:
		case <-time.After(2 * agenttest.Deadline):
		}
		return http.StatusServiceUnavailable
	}
	b.servers["slow"].Unlock()
	b.run()
	task := taskOf(protocol.TaskUninstall)
	b.servers["quick"].Offer(task)
	b.await("the quick one is served", func() bool { return slices.Contains(b.servers["quick"].TaskStates(task.ID), "succeeded/done") })
	require.Empty(t, b.servers["slow"].CheckIns())
}

// An inventory that one server takes for ever keeps no other server waiting for its own.
func TestRun_inventoriesOfServersGoSideBySide(t *testing.T) {
	t.Parallel()
	b := newBench(t, "hung", "quick")
	hold := filepath.Join(b.data, "hold-inventory-hung")
	require.NoError(t, os.WriteFile(hold, nil, 0o600))
	b.run()
	ledger := func(line string) bool {
		data, err := os.ReadFile(filepath.Join(b.data, "ledger"))
		return err == nil && strings.Contains(string(data), line)
	}
	b.await("the inventory for the one that hangs", func() bool { return ledger("begin inventory hung") })
	b.await("the inventory for the other", func() bool { return ledger("end inventory quick") })
	require.False(t, ledger("end inventory hung"))
	task := taskOf(protocol.TaskUninstall)
	b.servers["hung"].Offer(task)
	b.await("it is connected", func() bool { return b.servers["hung"].Sockets() == 1 })
	b.servers["hung"].Wakeup()
	b.await("a change for the one that hangs", func() bool {
		return slices.Contains(b.servers["hung"].TaskStates(task.ID), "succeeded/done")
	})
	b.await("both are told", func() bool { return len(b.r.Status().Running) == 1 && b.r.Status().Running[0].Server == "hung" })
	require.NoError(t, os.Remove(hold))
	b.await("it ends", func() bool { return ledger("end inventory hung") })
}

// A change that waits without saying until when is not begun again at once, and again.
func TestRun_aChangeThatWaitsForNoTimeComesBackLater(t *testing.T) {
	t.Parallel()
	b := newBench(t, "only")
	require.NoError(t, os.WriteFile(filepath.Join(b.data, "hold-result-uninstall"), nil, 0o600))
	b.servers["only"].Offer(taskOf(protocol.TaskUninstall))
	b.run()
	b.await("it waits", func() bool {
		_, ok, again := b.r.servers()[0].next(changing, time.Now())
		return !ok && time.Until(again) > taskRetry/4
	})
	data, err := os.ReadFile(filepath.Join(b.data, "ledger"))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(data), "begin uninstall only"), "%s", data)
}
