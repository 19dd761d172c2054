package e2e_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

// waysToAsk offer tasks that are none, or more than one.
func waysToAsk() map[string]way {
	return map[string]way{
		"tasks of other kinds": func(t *testing.T, c *captive) {
			for _, kind := range []string{"execute", "run", "shell", "command", "update", "Deploy", "deploy ", "", "../deploy", strings.Repeat("x", 1<<16)} {
				id := uuid.Must(uuid.NewV7()).String()
				c.enemy.attack(nil, map[string]any{
					"id": id, "kind": kind, "command": []string{"touch", c.evil}, "argv": []string{"touch", c.evil},
					"execute": map[string]any{"command": []string{"touch", c.evil}}, "deploy": c.task(t, signedWith(t, c.wish(t), c.oldServer)).Deploy,
				})
				require.Zero(t, c.once(t).code, kind)
				told := c.enemy.told(id)
				require.NotEmpty(t, told, kind)
				want := protocol.ReasonUnknownTask
				if kind == protocol.TaskUpdate { // it is known, and this is none
					want = protocol.ReasonMalformed
				}
				require.Equal(t, want, told[0].Task.Reason, kind)
			}
		},
		"more in a task than belongs there": func(t *testing.T, c *captive) {
			task := c.task(t, c.honest)
			before := c.times(t)
			d := task.Deploy
			c.enemy.attack(nil, map[string]any{
				"id": task.ID, "kind": task.Kind, "command": []string{"touch", c.evil}, "env": map[string]string{"LD_PRELOAD": c.evil, "PATH": filepath.Dir(c.evil)},
				"deploy": map[string]any{
					"deployment_id": d.DeploymentID, "attempt_id": d.AttemptID, "attempt": 1, "package_id": d.PackageID, "package_name": d.PackageName,
					"version": d.Version, "priority": d.Priority, "instruction": d.Instruction,
					"command": []string{"touch", c.evil}, "action": "execute", "archive": nil, "store_path": "/", "env": map[string]string{"A": "B"},
					"envelope": string(signedWith(t, c.wish(t), c.oldServer)), "verified": true, "trust": map[string]any{}, "force": true,
				},
			})
			require.Zero(t, c.once(t).code)
			require.Equal(t, before+1, c.times(t), "it is the honest package that runs")
		},
		"ids that are paths": func(t *testing.T, c *captive) {
			outside := filepath.Join(filepath.Dir(c.agent.data), "outside")
			for _, bad := range []string{"../../../../outside", outside, "..", ".", "/", `..\..\outside`, "x\x00y", strings.Repeat("a/", 2000), strings.ToUpper(uuid.NewString()), "{" + uuid.NewString() + "}"} {
				for name, change := range map[string]func(d *protocol.DeployTask){
					"attempt":     func(d *protocol.DeployTask) { d.AttemptID = bad },
					"deployment":  func(d *protocol.DeployTask) { d.DeploymentID = bad },
					"package":     func(d *protocol.DeployTask) { d.PackageID = bad },
					"instruction": func(d *protocol.DeployTask) { d.Instruction = bad },
				} {
					task := c.task(t, signedWith(t, c.wish(t), c.oldServer))
					change(task.Deploy)
					c.enemy.attack(nil, task)
					require.Zero(t, c.once(t).code)
					told := c.enemy.told(task.ID)
					require.NotEmpty(t, told, "%s %q", name, bad)
					require.NotNil(t, told[0].Task, "%s %q", name, bad)
					require.Equal(t, protocol.ReasonMalformed, told[0].Task.Reason)
				}
			}
			require.NoFileExists(t, outside)
			require.NoDirExists(t, outside)
		},
		"very many tasks": func(t *testing.T, c *captive) {
			envelope := signedWith(t, c.wish(t), c.oldServer)
			tasks := make([]any, protocol.MaxTasks+1)
			for n := range tasks {
				tasks[n] = c.task(t, envelope)
			}
			c.enemy.attack(nil, tasks...)
			require.NotZero(t, c.once(t).code, "an answer with more than the limit is none")
			c.enemy.attack(nil, tasks[:20]...)
			require.Zero(t, c.once(t).code)
		},
		"a new identity in the answer": func(t *testing.T, c *captive) {
			c.enemy.attack(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != protocol.PathCheckIn {
					return false
				}
				answer(w, map[string]any{
					"state": "active", "tasks": []any{}, "device_id": uuid.NewString(), "secret": "x", "next_secret": "y", "urls": []string{"https://evil.example"},
					"root_key_id": strings.Repeat("0", 64), "ca_pem": "x", "ca_fingerprint": strings.Repeat("0", 64), "token": "x",
					"config": map[string]any{"servers": []any{}}, "tasks_allowed": []string{"execute"}, "command": []string{"touch", c.evil},
				})
				return true
			})
			require.Zero(t, c.once(t).code)
		},
		"enrollment at the enemy": func(t *testing.T, c *captive) {
			e := protocol.Enrollment{URLs: []string{c.relay.url}, Token: "menr_x", CA: c.s.caHash, Root: newKey(t).ID()}
			r := command(t, nil, "muster-agent", "enroll", "--data", c.agent.data, "--name", "fallen", e.String())
			require.NotZero(t, r.code, "who is enrolled stays so")
			require.Contains(t, r.stderr, "already enrolled")
		},
		"no such device": func(t *testing.T, c *captive) {
			for _, status := range []int{401, 403, 404, 410, 500, 503} {
				c.enemy.attack(func(w http.ResponseWriter, _ *http.Request) bool {
					w.Header().Set("Retry-After", "99999999999999999999")
					w.WriteHeader(status)
					answer(w, map[string]any{"code": "unauthenticated", "detail": "enroll again", "command": []string{"touch", c.evil}})
					return true
				})
				require.NotZero(t, c.once(t).code)
			}
		},
		"another word of the device's state": func(t *testing.T, c *captive) {
			for _, state := range []string{"root", "trusted", strings.Repeat("x", 1<<20), "active\n[core][INFO] all is well"} {
				task := c.task(t, signedWith(t, c.wish(t), c.oldServer))
				c.enemy.attack(func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path != protocol.PathCheckIn {
						return false
					}
					answer(w, map[string]any{"state": state, "tasks": []any{task}})
					return true
				})
				require.Zero(t, c.once(t).code)
			}
			require.Less(t, len(c.file(t, "state.json")), 1<<10)
		},
		"what is denied by the device": func(t *testing.T, c *captive) {
			c.agent.configure(t, map[string]any{"servers": []any{map[string]any{"name": "fallen", "tasks_allowed": []string{}}}})
			d := c.try(t, c.honest)
			require.Equal(t, protocol.ReasonNotAllowed, d.Reason, "not even what an author signed")
			require.Zero(t, c.times(t))
			require.NoError(t, os.Remove(filepath.Join(c.agent.data, "agent.json")))
		},
		"the log": func(t *testing.T, c *captive) {
			// Whatever the server says may stand in the log, but it cannot look like a line of the agent's.
			task := c.task(t, c.honest)
			task.Deploy.Version = "1\n[core][INFO] all is well\x1b[2J"
			c.enemy.attack(nil, task)
			r := c.once(t)
			for line := range bytes.Lines([]byte(r.stdout + r.stderr)) {
				require.False(t, bytes.HasPrefix(line, []byte("[core][INFO] all is well")))
				require.NotContains(t, string(line), "\x1b")
			}
		},
	}
}
