package e2e_test

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// waysToSwap take what an author signed and put something else in its place.
func waysToSwap() map[string]way {
	return map[string]way{
		"another archive of the same length": func(t *testing.T, c *captive) {
			evil := tarGz(t, script("run.sh", "touch "+c.evil))
			archive := instructionOf(t, c.honest).Archive
			for _, f := range archive.Fragments {
				other := make([]byte, f.Length)
				copy(other, evil)
				c.enemy.serveAs(f.SHA256, other)
			}
			c.requireRefused(t, c.honest, protocol.ReasonDigest)
		},
		"fragments in another order": func(t *testing.T, c *captive) {
			padding := make([]byte, 5<<19) // two whole fragments, and a half
			_, _ = rand.Read(padding)
			doc := c.document(t, instruction.Spec{Action: instruction.Launch, Command: []string{"run.sh"}},
				tarGz(t, script("run.sh", "touch "+c.evil), file{"padding", 0o644, padding}))
			c.serveHonest(t)
			list := doc.Archive.Fragments
			require.Greater(t, len(list), 2)
			require.Equal(t, list[0].Length, list[1].Length)
			c.mu.Lock()
			first, second := c.blobs[list[0].SHA256], c.blobs[list[1].SHA256]
			c.mu.Unlock()
			c.enemy.serveAs(list[0].SHA256, second)
			c.enemy.serveAs(list[1].SHA256, first)
			c.requireRefused(t, signedWith(t, doc, c.author), protocol.ReasonDigest)
		},
		"a longer body than the fragment": func(t *testing.T, c *captive) {
			for _, f := range instructionOf(t, c.honest).Archive.Fragments {
				c.mu.Lock()
				data := append(append([]byte(nil), c.blobs[f.SHA256]...), tarGz(t, script("run.sh", "touch "+c.evil))...)
				c.mu.Unlock()
				c.enemy.serveAs(f.SHA256, data)
			}
			before := c.times(t)
			require.Equal(t, protocol.StateSucceeded, c.try(t, c.honest).State, "what is behind it is never read")
			require.Equal(t, before+1, c.times(t))
		},
		"one package served as another": func(t *testing.T, c *captive) {
			other := signedWith(t, c.document(t, instruction.Spec{Action: instruction.Execute, Command: []string{"touch", c.evil}}, nil), c.author)
			for _, change := range []func(d, honest *protocol.DeployTask){
				func(d, honest *protocol.DeployTask) { // the digest alone is the other's
					d.PackageID, d.PackageName, d.Version, d.Priority = honest.PackageID, honest.PackageName, honest.Version, honest.Priority
				},
				func(d, honest *protocol.DeployTask) { d.PackageName = honest.PackageName },
				func(d, honest *protocol.DeployTask) { d.PackageID = honest.PackageID },
				func(d, _ *protocol.DeployTask) { d.Version = "2" },
				func(d, _ *protocol.DeployTask) { d.Priority = 0 },
			} {
				task := c.task(t, other)
				change(task.Deploy, c.task(t, c.honest).Deploy)
				d := c.tryTask(t, task)
				require.Equal(t, protocol.ReasonMismatch, d.Reason, d.Message)
			}
		},
		"another path to store under": func(t *testing.T, c *captive) {
			doc := c.document(t, instruction.Spec{Action: instruction.Store, StorePath: "/opt/muster-test-never-written"},
				tarGz(t, file{"evil", 0o755, []byte("x")}))
			c.serveHonest(t)
			signed := signedWith(t, doc, c.author)
			changed := *doc
			changed.StorePath = c.evil
			e := openEnvelope(t, signedWith(t, &changed, c.oldServer))
			e.Signatures = append(e.Signatures, openEnvelope(t, signed).Signatures...)
			c.requireRefused(t, e.bytes(t), protocol.ReasonSignature)
		},
		"an older version": func(t *testing.T, c *captive) {
			c.runHonest(t)
			require.Less(t, instructionOf(t, c.older).Serial, instructionOf(t, c.honest).Serial)
			c.requireRefused(t, c.older, protocol.ReasonSerial)
		},
		"an expired instruction and a false clock": func(t *testing.T, c *captive) {
			doc := c.document(t, instruction.Spec{Action: instruction.Execute, Command: []string{"touch", c.evil}}, nil)
			doc.IssuedAt = doc.IssuedAt.Add(-48 * time.Hour)
			doc.ExpiresAt = doc.IssuedAt.Add(24 * time.Hour)
			task := c.task(t, signedWith(t, doc, c.author))
			c.enemy.attack(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != protocol.PathCheckIn {
					return false
				}
				answer(w, map[string]any{"server_time": doc.IssuedAt.Add(time.Hour), "state": "active", "tasks": []any{task}})
				return true
			})
			c.once(t)
			told := c.enemy.told(task.ID)
			require.NotEmpty(t, told)
			require.Equal(t, protocol.StateExpired, told[len(told)-1].Deployment.State)
		},
		"a finished attempt again": func(t *testing.T, c *captive) {
			task := c.task(t, c.honest)
			before := c.times(t)
			require.Equal(t, protocol.StateSucceeded, c.tryTask(t, task).State)
			c.enemy.mu.Lock()
			c.enemy.forgets = true
			c.enemy.mu.Unlock()
			for range 3 {
				renamed := task
				renamed.ID = uuid.NewString()
				c.enemy.attack(nil, task, renamed)
				require.Zero(t, c.once(t).code)
			}
			require.Equal(t, before+1, c.times(t), "at most once per attempt id")
			ids := map[string]bool{}
			for _, r := range c.enemy.told(task.ID) {
				ids[r.ID] = true
			}
			require.Less(t, len(ids), len(c.enemy.told(task.ID)), "the same reports are told again")
		},
		"another device's deployment": func(t *testing.T, c *captive) {
			task := c.task(t, signedWith(t, c.wish(t), c.oldServer))
			task.Deploy.DeploymentID = uuid.NewString() // of whatever device
			d := c.tryTask(t, task)
			require.Equal(t, protocol.ReasonSignature, d.Reason, d.Message)
		},
	}
}

func instructionOf(t *testing.T, data []byte) *instruction.Instruction {
	t.Helper()
	var i instruction.Instruction
	require.NoError(t, json.Unmarshal(openEnvelope(t, data).Payload, &i))
	return &i
}
