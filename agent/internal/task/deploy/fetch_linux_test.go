package deploy_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/fragments"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/agent/internal/task/deploy"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// Where fragments lie while a package runs, and which of them stay: private ones are apart from the others at
// any time, and go with a success whatever the device keeps for others.
func TestRun_whereFragmentsLie(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		private, keep, fails   bool
		sharedStay, listed     bool
		privateStay, sharedRun bool
	}{
		"shared":                    {sharedRun: true},
		"shared and kept":           {keep: true, sharedRun: true, sharedStay: true, listed: true},
		"shared and failed":         {fails: true, sharedRun: true, sharedStay: true, listed: true},
		"private":                   {private: true},
		"private is never kept":     {private: true, keep: true},
		"private and failed":        {private: true, fails: true, privateStay: true},
		"private, kept, and failed": {private: true, keep: true, fails: true, privateStay: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			code := "0"
			if c.fails {
				code = "1"
			}
			// The command looks for itself at what lies there while it runs.
			p := d.server.Add(t, instruction.Spec{
				Action: instruction.Execute, Private: c.private,
				Command: sh("ls '" + fragments.Dir(d.data, false) + "' | wc -l; exit " + code),
			}, agenttest.Zip(t, map[string]string{"a": "b"}), nil)
			in := d.input(agenttest.Task(p))
			in.KeepFragments = c.keep
			var last protocol.DeploymentReport
			require.NoError(t, new(deploy.Deployer).Run(t.Context(), in, func(e task.Event) error {
				if e.Report != nil {
					last = *e.Report.Deployment
				}
				return nil
			}, slog.New(slog.DiscardHandler)))
			want := map[bool]protocol.State{false: protocol.StateSucceeded, true: protocol.StateFailed}[c.fails]
			require.Equal(t, want, last.State, last.Message)
			if c.sharedRun {
				require.Equal(t, "1\n", last.Output)
			} else {
				require.Contains(t, last.Output, "0\n")
			}
			digest := p.Doc.Archive.Fragments[0].SHA256
			file, err := fragments.Open(d.data, digest)
			require.Equal(t, c.sharedStay, err == nil, "%v", err)
			if err == nil {
				require.NoError(t, file.Close())
			}
			_, err = os.Stat(filepath.Join(fragments.Dir(d.data, true), digest))
			require.Equal(t, c.privateStay, err == nil, "%v", err)
			found, err := fragments.Find(d.data, p.Doc.ID, 1)
			require.Equal(t, c.listed, err == nil, "%v", err)
			if c.listed {
				require.Equal(t, digest, found)
			}
		})
	}
}
