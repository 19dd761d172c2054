package e2e_test

import (
	"crypto/tls"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

// TestEnemy_could: what a taken server can still do, as docs/security.md says, and what denies it.
func TestEnemy_could(t *testing.T) {
	t.Parallel()
	w, captives := conquer(t, []string{"offer again", "hold back a revocation", "hold up"}, nil)
	leaf := w.s.issue(t)
	for _, c := range captives {
		c.enemy = startEnemyServer(t, &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS13})
		c.relay.lead(c.enemy.address)
		c.serveHonest(t)
	}
	doc, err := trust.VerifyChain(w.oldRoot.ID(), nil, [][]byte{w.chain[0], w.chain[1]})
	require.NoError(t, err)
	next := *doc
	next.Version, next.Revoked = doc.Version+1, []string{instructionOf(t, w.honest).ID}
	revoking := []json.RawMessage{signedTrust(t, next, w.root)}

	t.Run("offer again", func(t *testing.T) {
		t.Parallel()
		c := captives["offer again"] // to which nobody ever assigned the package
		for n := range 2 {
			require.Equal(t, protocol.StateSucceeded, c.try(t, c.honest).State)
			require.Equal(t, n+1, c.times(t))
		}
		c.agent.configure(t, map[string]any{"servers": []any{map[string]any{"name": "fallen", "tasks_allowed": []string{}}}})
		require.Equal(t, protocol.ReasonNotAllowed, c.try(t, c.honest).Reason)
		require.Equal(t, 2, c.times(t))
	})
	t.Run("hold back a revocation", func(t *testing.T) {
		t.Parallel()
		c := captives["hold back a revocation"]
		require.Equal(t, protocol.StateSucceeded, c.try(t, c.honest).State, "of what it was not told a device cannot know")
		c.enemy.mu.Lock()
		c.enemy.trust = revoking
		c.enemy.mu.Unlock()
		require.Equal(t, protocol.ReasonRevoked, c.try(t, c.honest).Reason)
		c.enemy.mu.Lock()
		c.enemy.trust = c.chain
		c.enemy.mu.Unlock()
		require.Equal(t, protocol.ReasonRevoked, c.try(t, c.honest).Reason, "what it was told once it does not forget")
		require.Equal(t, 1, c.times(t))
	})
	t.Run("hold up", func(t *testing.T) {
		t.Parallel()
		c := captives["hold up"]
		enemy := newKey(t)
		c.enemy.mu.Lock()
		c.enemy.trust = []json.RawMessage{signedTrust(t, enemyTrust(9, enemy), enemy)}
		c.enemy.mu.Unlock()
		task := c.task(t, c.honest)
		require.Equal(t, protocol.ReasonTrust, c.tryTask(t, task).Reason)
		require.Zero(t, c.times(t))
		c.enemy.mu.Lock()
		c.enemy.trust = nil
		c.enemy.mu.Unlock()
		require.Equal(t, protocol.StateSucceeded, c.tryTask(t, task).State, "the same attempt goes on")
		require.Equal(t, 1, c.times(t))
	})
}
