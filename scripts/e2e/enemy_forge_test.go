package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

// waysToForge sign, or seem to sign, what the enemy wishes.
func waysToForge() map[string]way {
	by := func(key func(c *captive) trust.PrivateKey) way {
		return func(t *testing.T, c *captive) {
			c.requireRefused(t, signedWith(t, c.wish(t), key(c)), protocol.ReasonSignature)
		}
	}
	return map[string]way{
		"signed by the old server key": by(func(c *captive) trust.PrivateKey { return c.oldServer }),
		"signed by the old root key":   by(func(c *captive) trust.PrivateKey { return c.oldRoot }),
		"signed by a key of the enemy": func(t *testing.T, c *captive) {
			c.requireRefused(t, signedWith(t, c.wish(t), newKey(t)), protocol.ReasonSignature)
		},
		"signed by all the keys there are": func(t *testing.T, c *captive) {
			c.requireRefused(t, signedWith(t, c.wish(t), c.oldServer, c.oldRoot, newKey(t)), protocol.ReasonSignature)
		},
		"an instruction of before take-over": func(t *testing.T, c *captive) {
			c.requireRefused(t, c.replayed, protocol.ReasonSignature)
		},
		"the author's signature of another package": func(t *testing.T, c *captive) {
			e := openEnvelope(t, signedWith(t, c.wish(t), c.oldServer))
			e.Signatures = openEnvelope(t, c.honest).Signatures
			c.requireRefused(t, e.bytes(t), protocol.ReasonSignature)
		},
		"a signature under the author's name": func(t *testing.T, c *captive) {
			e := openEnvelope(t, signedWith(t, c.wish(t), c.oldServer))
			e.Signatures[0].KeyID = c.author.ID()
			c.requireRefused(t, e.bytes(t), protocol.ReasonSignature)
			e.Signatures[0].KeyID = ""
			c.requireRefused(t, e.bytes(t), protocol.ReasonSignature)
			e.Signatures = []envelopeSignature{}
			c.requireRefused(t, e.bytes(t), protocol.ReasonSignature)
		},
		"two payloads in one envelope": func(t *testing.T, c *captive) {
			evil := openEnvelope(t, signedWith(t, c.wish(t), c.oldServer))
			payload, err := json.Marshal(evil.Payload)
			require.NoError(t, err)
			for _, name := range []string{"payload", "Payload"} {
				envelope := with(c.honest, `"`+name+`":`+string(payload))
				task := c.task(t, c.honest)
				task.Deploy.Instruction = c.enemy.serve(envelope)
				d := c.tryTask(t, task)
				require.Equal(t, protocol.ReasonMalformed, d.Reason, d.Message)
			}
		},
		"a trust document as an instruction": func(t *testing.T, c *captive) {
			task := c.task(t, c.honest)
			task.Deploy.Instruction = c.enemy.serve(c.chain[len(c.chain)-1])
			d := c.tryTask(t, task)
			require.Equal(t, protocol.ReasonPayloadType, d.Reason, d.Message)
		},
		"critical fields and formats": func(t *testing.T, c *captive) {
			// Nothing in a document that is not signed makes an agent lenient.
			payload := openEnvelope(t, signedWith(t, c.wish(t), c.oldServer)).Payload
			for _, text := range []string{`"critical":[]`, `"critical":["signature"]`, `"critical":["none"]`} {
				c.requireRefused(t, seal(t, with(payload, text), c.oldServer), protocol.ReasonSignature)
			}
			newer := strings.Replace(string(payload), `"format":1`, `"format":99`, 1)
			c.requireRefused(t, seal(t, []byte(newer), c.oldServer), protocol.ReasonSignature)
		},
	}
}

// enemyTrust is a trust document that gives the enemy all that it needs.
func enemyTrust(version int, enemy trust.PrivateKey, more ...trust.Key) trust.Document {
	return trust.Document{
		Version: version, IssuedAt: time.Now().UTC().Truncate(time.Second),
		Keys: append([]trust.Key{enemy.Entry(trust.RoleRoot, trust.RoleAuthor, trust.RoleServer)}, more...),
	}
}

// waysToDistrust bring trust documents that no owner signed.
func waysToDistrust() map[string]way {
	// Either the document is refused, and everything waits, or it has no effect, and the enemy's signature
	// is that of a stranger.
	bring := func(state protocol.State, reason protocol.Reason, make func(t *testing.T, c *captive, enemy trust.PrivateKey) []json.RawMessage) way {
		return func(t *testing.T, c *captive) {
			enemy := newKey(t)
			before := c.file(t, "trust.json")
			c.enemy.mu.Lock()
			c.enemy.trust = make(t, c, enemy)
			c.enemy.mu.Unlock()
			d := c.try(t, signedWith(t, c.wish(t), enemy, c.oldServer, c.oldRoot))
			require.Equal(t, state, d.State, d.Message)
			require.Equal(t, reason, d.Reason, d.Message)
			require.Equal(t, string(before), string(c.file(t, "trust.json")), "nothing of it is kept")
		}
	}
	refused := func(make func(t *testing.T, c *captive, enemy trust.PrivateKey) []json.RawMessage) way {
		return bring(protocol.StateWaiting, protocol.ReasonTrust, make)
	}
	ignored := func(make func(t *testing.T, c *captive, enemy trust.PrivateKey) []json.RawMessage) way {
		return bring(protocol.StateRefused, protocol.ReasonSignature, make)
	}
	return map[string]way{
		"a new trust document by the old root": refused(func(t *testing.T, c *captive, enemy trust.PrivateKey) []json.RawMessage {
			return []json.RawMessage{signedTrust(t, enemyTrust(3, enemy, c.oldRoot.Entry(trust.RoleRoot)), c.oldRoot, enemy)}
		}),
		"a new trust document by the enemy's root": refused(func(t *testing.T, _ *captive, enemy trust.PrivateKey) []json.RawMessage {
			return []json.RawMessage{signedTrust(t, enemyTrust(3, enemy), enemy)}
		}),
		"a new trust document that lists the owner's root too": refused(func(t *testing.T, c *captive, enemy trust.PrivateKey) []json.RawMessage {
			return []json.RawMessage{signedTrust(t, enemyTrust(3, enemy, c.root.Entry(trust.RoleRoot)), enemy, c.oldRoot)}
		}),
		"another take-over": ignored(func(t *testing.T, c *captive, enemy trust.PrivateKey) []json.RawMessage {
			return []json.RawMessage{c.chain[0], signedTrust(t, enemyTrust(2, enemy), c.oldRoot, enemy)}
		}),
		"another take-over, carried on": refused(func(t *testing.T, c *captive, enemy trust.PrivateKey) []json.RawMessage {
			return []json.RawMessage{
				c.chain[0], signedTrust(t, enemyTrust(2, enemy), c.oldRoot, enemy), signedTrust(t, enemyTrust(3, enemy), enemy),
			}
		}),
		"the trust document of before take-over": ignored(func(_ *testing.T, c *captive, _ trust.PrivateKey) []json.RawMessage {
			return []json.RawMessage{c.chain[0]}
		}),
		"an instruction as a trust document": refused(func(_ *testing.T, c *captive, _ trust.PrivateKey) []json.RawMessage {
			return []json.RawMessage{c.honest}
		}),
		"the owner's document, changed": refused(func(t *testing.T, c *captive, enemy trust.PrivateKey) []json.RawMessage {
			e := openEnvelope(t, c.chain[len(c.chain)-1])
			payload, err := json.Marshal(enemyTrust(3, enemy, c.root.Entry(trust.RoleRoot)))
			require.NoError(t, err)
			e.Payload = []byte(strings.Replace(string(payload), `"format":0`, `"format":1`, 1))
			return []json.RawMessage{e.bytes(t)}
		}),
		"what the owner revoked": func(t *testing.T, c *captive) {
			// The owner still has the root key, and got this document to the device by another way; the
			// enemy then serves the one before again.
			victim := signedWith(t, c.document(t, instruction.Spec{Action: instruction.Execute, Command: []string{"touch", c.evil}}, nil), c.author)
			var id struct{ ID string }
			require.NoError(t, json.Unmarshal(openEnvelope(t, victim).Payload, &id))
			doc, err := trust.VerifyChain(c.oldRoot.ID(), nil, [][]byte{c.chain[0], c.chain[1]})
			require.NoError(t, err)
			next := *doc
			next.Version, next.Revoked = 3, []string{id.ID}
			c.enemy.mu.Lock()
			c.enemy.trust = []json.RawMessage{signedTrust(t, next, c.root)}
			c.enemy.mu.Unlock()
			c.enemy.attack(nil)
			c.once(t)
			c.enemy.mu.Lock()
			c.enemy.trust = c.chain
			c.enemy.mu.Unlock()
			c.requireRefused(t, victim, protocol.ReasonRevoked)
		},
	}
}
