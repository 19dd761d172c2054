package deploy_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/task/deploy"
	"github.com/muster/muster/packages/instruction"
)

// TestRun_aCommandThatThisDeviceForgotIsNotBegunAgain: the server has the report of its start, but the device
// was restored from a copy made before.
func TestRun_aCommandThatThisDeviceForgotIsNotBegunAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		detect    string // file that the rule looks for
		installed bool
		want      string
	}{
		"no rule":       {"", false, "interrupted/no_status"},
		"rule says no":  {"flag", false, "interrupted/no_status"},
		"rule says yes": {"flag", true, "succeeded/already_installed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, dir := newDevice(t), t.TempDir()
			ledger, flag := filepath.Join(dir, "ledger"), filepath.Join(dir, "flag")
			spec := instruction.Spec{Action: instruction.Execute, Command: sh("echo ran >> " + ledger)}
			if c.detect != "" {
				spec.Detect = &instruction.Detection{File: &instruction.FileRule{Path: flag}}
			}
			if c.installed {
				require.NoError(t, os.WriteFile(flag, nil, 0o600))
			}
			tk := agenttest.Task(d.server.Add(t, spec, nil, nil))
			tk.Deploy.Begun = true
			r := d.run(t, deploy.Deployer{}, tk)
			require.Equal(t, c.want, string(r.last().State)+"/"+string(r.last().Reason))
			require.Contains(t, r.last().Message, "holds no record")
			require.NoFileExists(t, ledger)
		})
	}
}

// TestStore_isRepeatedByADeviceThatForgotIt: placing files may be repeated.
func TestStore_isRepeatedByADeviceThatForgotIt(t *testing.T) {
	t.Parallel()
	d, to := newDevice(t), filepath.Join(t.TempDir(), "to")
	zip := agenttest.Zip(t, map[string]string{"a": "x"})
	tk := agenttest.Task(d.server.Add(t, instruction.Spec{Action: instruction.Store, StorePath: to}, zip, nil))
	tk.Deploy.Begun = true
	require.Equal(t, "succeeded", string(d.run(t, deploy.Deployer{}, tk).last().State))
	require.FileExists(t, filepath.Join(to, "a"))
}
