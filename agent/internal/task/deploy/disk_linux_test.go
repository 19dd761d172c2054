package deploy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/task/deploy"
	"github.com/muster/muster/agent/internal/task/fetch"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// TestRun_looksAtTheDiskFirst: a full disk makes a package wait, one that is too small rules it out; in
// neither case has anything of it run.
func TestRun_looksAtTheDiskFirst(t *testing.T) {
	t.Parallel()
	_, total, err := fetch.DiskSpace(t.TempDir())
	require.NoError(t, err)
	for need, want := range map[int64]struct {
		state  protocol.State
		reason protocol.Reason
	}{
		total:     {protocol.StateWaiting, protocol.ReasonDiskSpace}, // never is all of a disk free
		total + 1: {protocol.StateNotApplicable, protocol.ReasonRequirements},
	} {
		d := newDevice(t)
		p := d.server.Add(t, instruction.Spec{
			Action: instruction.Execute, Command: sh("exit 0"), Requires: &instruction.Requirements{MinDiskBytes: need},
		}, nil, nil)
		r := d.run(t, deploy.Deployer{}, agenttest.Task(p))
		require.Equal(t, want.state, r.end.State, r.last().Message)
		require.Equal(t, want.reason, r.last().Reason)
		require.NotContains(t, r.states(), string(protocol.StateStarted))
	}
}
