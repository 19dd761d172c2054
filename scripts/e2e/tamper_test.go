package e2e_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/trust"
)

// tampered is the world in which everything between server and device may be changed. Its trust document
// has keys of every role, two authors who must sign together, and two who were removed.
type tampered struct {
	*tamperer
	root, server, author, second, release, stranger trust.PrivateKey
	removed, alsoRemoved                            trust.PrivateKey

	old []byte // the trust document in which the removed authors are still trusted
}

func newTampered(t *testing.T) *tampered {
	t.Helper()
	w := &tampered{
		tamperer: startTamperer(t),
		author:   newKey(t), second: newKey(t), release: newKey(t), stranger: newKey(t),
		removed: newKey(t), alsoRemoved: newKey(t),
	}
	w.root, w.server = w.s.key(t, "root"), w.s.key(t, "server")
	w.old = signedTrust(t, w.document(2, w.removed.Entry(trust.RoleAuthor), w.alsoRemoved.Entry(trust.RoleAuthor)), w.root)
	w.s.publish(t, w.old)
	return w
}

func (w *tampered) document(version int, more ...trust.Key) trust.Document {
	return trust.Document{
		Version: version, IssuedAt: time.Now().UTC().Truncate(time.Second),
		Keys: append([]trust.Key{
			w.root.Entry(trust.RoleRoot), w.server.Entry(trust.RoleServer), w.author.Entry(trust.RoleAuthor),
			w.second.Entry(trust.RoleAuthor), w.release.Entry(trust.RoleRelease),
		}, more...),
		Thresholds: map[trust.Role]int{trust.RoleAuthor: 2},
	}
}

// victim is one device with one package that the server has honestly signed for it.
type victim struct {
	*tampered
	agent      *agent
	packageID  string
	deployment string
	ran        string // the package's command adds a line to this file
	evil       string // what must never come to be
}

// tamperCase breaks one thing, and one only.
type tamperCase struct {
	state, reason string
	says          string // in the message of the timeline
	// prepare, where needed, comes before the deployment is offered.
	prepare func(t *testing.T, v *victim)
	// broken and unbroken are what happens on the way; unbroken is mostly nothing at all.
	broken   func(t *testing.T, v *victim) *tampering
	unbroken func(t *testing.T, v *victim) *tampering
	// heal is what a person does after it; without one, the deployment is retried.
	heal func(t *testing.T, v *victim)
}

// TestTamper breaks what passes between server and device in one way after another. Each time the command
// does not run, nothing stays on the device's disk, and the timeline on the server has the reason. The
// same bytes, unbroken, are then accepted by the same device.
func TestTamper(t *testing.T) {
	t.Parallel()
	w := newTampered(t)
	cases := w.cases()
	victims := map[string]*victim{}
	var mu sync.Mutex
	t.Run("devices", func(t *testing.T) { // returns when all are there
		for name := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				v := w.victim(t, name)
				mu.Lock()
				defer mu.Unlock()
				victims[name] = v
			})
		}
	})
	// From now on every check-in brings a newer document, in which two authors are gone.
	w.s.publish(t, signedTrust(t, w.document(3), w.root))
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NotNil(t, victims[name])
			victims[name].play(t, c)
		})
	}
}

// victim makes a device and its package. Both outlive the test in which they are made.
func (w *tampered) victim(t *testing.T, name string) *victim {
	t.Helper()
	dir, err := os.MkdirTemp(w.s.data, "victim-") // removed with the server's folder
	require.NoError(t, err)
	v := &victim{tampered: w, agent: &agent{data: filepath.Join(dir, "agent")}, ran: filepath.Join(dir, "ran"), evil: filepath.Join(dir, "evil")}
	succeed(t, nil, "muster-agent", "enroll", "--data", v.agent.data, w.s.enrollment(t))
	v.agent.device = v.agent.id(t)
	v.agent.configure(t, map[string]any{"listener": map[string]any{"enabled": false}})
	padding := make([]byte, 4<<10)
	_, _ = rand.Read(padding)
	v.packageID = w.s.offer(t, spec{
		Name: strings.ReplaceAll(name, " ", "-"), Priority: 5, Action: "launch", Command: []string{"run.sh", v.ran}, File: "a.tar.gz",
		Archive: tarGz(t, script("run.sh", `echo ran >> "$1"`), file{"padding", 0o644, padding}),
	})
	return v
}

func (v *victim) play(t *testing.T, c tamperCase) {
	if c.prepare != nil {
		c.prepare(t, v)
	}
	v.deployment, _ = v.s.assign(t, v.packageID, v.agent.device)
	if c.broken != nil {
		v.suffer(v.agent.device, c.broken(t, v))
	}
	v.agent.once(t)
	d := v.s.deployment(t, v.deployment)
	require.Equal(t, c.state+" "+c.reason, d.State+" "+d.Reason, d.story())
	if c.state != "succeeded" {
		told := d.entry(c.state, c.reason)
		require.NotNil(t, told, d.story())
		says := told.Message
		if e := d.entry("expired", ""); e != nil { // what the device said, before the server drew its conclusion
			says = e.Message
		}
		require.Contains(t, says, c.says)
		require.NoFileExists(t, v.ran)
		if c.reason != "sign_again" { // the archive is as good as before
			v.requireClean(t)
		}

		v.suffer(v.agent.device, nil)
		if c.unbroken != nil {
			v.suffer(v.agent.device, c.unbroken(t, v))
		}
		if c.heal == nil {
			c.heal = func(t *testing.T, v *victim) {
				v.s.call(t, "POST", "/deployments/"+v.deployment+"/retry", nil, nil)
			}
		}
		c.heal(t, v)
		v.agent.once(t)
	}
	d = v.s.deployment(t, v.deployment)
	require.Equal(t, "succeeded", d.State, "the accepted twin: %s", d.story())
	ran, err := os.ReadFile(v.ran)
	require.NoError(t, err)
	require.Equal(t, "ran\n", string(ran), "exactly once")
	require.NoFileExists(t, v.evil)
	v.requireClean(t)
}

// requireClean wants nothing on the device's disk but what tells the story of its attempts.
func (v *victim) requireClean(t *testing.T) {
	t.Helper()
	story := map[string]bool{"task.json": true, "journal": true, "lock": true, "settled": true}
	err := filepath.WalkDir(v.agent.data, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		parts := strings.Split(strings.TrimPrefix(path, v.agent.data+"/"), "/")
		require.NotContains(t, []string{"fragments", "private-fragments", "fragment-lists"}, parts[0], path)
		if len(parts) > 2 && parts[2] == "attempts" {
			require.True(t, story[e.Name()], "left behind: %s", path)
		}
		return nil
	})
	require.NoError(t, err)
}

// forging makes an envelope of the honest one; the digest in the task is that of the forgery.
func forging(t *testing.T, forge func(original []byte) []byte) *tampering {
	return &tampering{envelope: func(original []byte) []byte {
		made := forge(original)
		require.NotEqual(t, original, made)
		return made
	}}
}

// resealed is a case in which the server's own key signs a changed payload.
func (w *tampered) resealed(reason, says string, change func(payload string) string) tamperCase {
	return tamperCase{state: "refused", reason: reason, says: says, broken: func(t *testing.T, _ *victim) *tampering {
		return forging(t, func(original []byte) []byte {
			payload := string(openEnvelope(t, original).Payload)
			changed := change(payload)
			require.NotEqual(t, payload, changed)
			return seal(t, []byte(changed), w.server)
		})
	}}
}

// signedBy is a case in which the honest payload is signed by other keys.
func signedBy(reason, says string, keys ...trust.PrivateKey) tamperCase {
	return tamperCase{state: "refused", reason: reason, says: says, broken: func(t *testing.T, _ *victim) *tampering {
		return forging(t, func(original []byte) []byte { return seal(t, openEnvelope(t, original).Payload, keys...) })
	}}
}

// distrusted is a case in which the trust documents of a check-in are changed: the deployment waits, and
// goes on by itself.
func distrusted(says string, change func(t *testing.T, v *victim, documents []json.RawMessage) []json.RawMessage) tamperCase {
	return tamperCase{
		state: "waiting", reason: "trust_invalid", says: says,
		broken: func(t *testing.T, v *victim) *tampering {
			return &tampering{trust: func(documents []json.RawMessage) []json.RawMessage { return change(t, v, documents) }}
		},
		heal: func(*testing.T, *victim) {},
	}
}

// runOnce lets the device run the package before the story begins.
func (v *victim) runOnce(t *testing.T) {
	t.Helper()
	id, _ := v.s.assign(t, v.packageID, v.agent.device)
	v.agent.once(t)
	require.Equal(t, "succeeded", v.s.deployment(t, id).State)
	require.NoError(t, os.Remove(v.ran))
}

func (w *tampered) cases() map[string]tamperCase {
	cases := map[string]tamperCase{
		// Bits turned over on the way.
		"envelope damaged": {state: "refused", reason: "mismatch", says: "digest", broken: func(t *testing.T, _ *victim) *tampering {
			return &tampering{envelope: func(b []byte) []byte { return flipPayload(t, b) }, damaged: true}
		}},
		"payload flipped": {state: "refused", reason: "signature_invalid", says: "no valid signature", broken: func(t *testing.T, _ *victim) *tampering {
			return forging(t, func(b []byte) []byte { return flipPayload(t, b) })
		}},
		"signature flipped": {state: "refused", reason: "signature_invalid", says: "no valid signature", broken: func(t *testing.T, _ *victim) *tampering {
			return forging(t, func(b []byte) []byte { return flipSignatures(t, b) })
		}},
		"fragment flipped": {state: "refused", reason: "digest_mismatch", says: "differ from the signed digest", broken: func(*testing.T, *victim) *tampering {
			return &tampering{fragment: flip}
		}},
		"fragment flipped once": {state: "succeeded", reason: "exit_code", broken: func(*testing.T, *victim) *tampering {
			var once sync.Once
			return &tampering{fragment: func(data []byte) []byte {
				once.Do(func() { data = flip(data) })
				return data
			}}
		}},

		// Signatures that are good, but not good enough.
		"stranger":             signedBy("signature_invalid", "no valid signature", w.stranger),
		"key without the role": signedBy("key_role", `role is ["release"]`, w.release),
		"root key":             signedBy("key_role", `role is ["root"]`, w.root),
		"removed authors":      signedBy("signature_invalid", "no valid signature", w.removed, w.alsoRemoved),
		"below threshold":      signedBy("below_threshold", "1 author and 0 server", w.author),
		"payload type": {state: "refused", reason: "payload_type", says: "text/plain", broken: func(t *testing.T, _ *victim) *tampering {
			return forging(t, func(original []byte) []byte {
				data, err := trust.SignEnvelope("text/plain", openEnvelope(t, original).Payload, w.server)
				require.NoError(t, err)
				return data
			})
		}},

		// Signed by the server's own key, but not what a device may understand in one way only.
		"unknown critical": w.resealed("unknown_critical", "teleport", func(s string) string {
			return strings.Replace(s, "{", `{"critical":["teleport"],"teleport":true,`, 1)
		}),
		"unknown key": w.resealed("malformed", "unknown key", func(s string) string {
			return strings.Replace(s, "{", `{"teleport":true,`, 1)
		}),
		"duplicate key": w.resealed("malformed", "twice", func(s string) string {
			return strings.Replace(s, "{", `{"command":["touch","evil"],`, 1)
		}),
		"case-variant key": w.resealed("malformed", `is spelled "Command"`, func(s string) string {
			return strings.Replace(s, `"command"`, `"Command"`, 1)
		}),
		"key twice in two cases": w.resealed("malformed", "twice", func(s string) string {
			return strings.Replace(s, "{", `{"COMMAND":["touch","evil"],`, 1)
		}),
		"trailing data": w.resealed("malformed", "data follows", func(s string) string { return s + "{}" }),
		"null":          w.resealed("malformed", "null", func(s string) string { return strings.Replace(s, `"tar.gz"`, "null", 1) }),
	}
	for name, c := range w.trustCases() {
		cases[name] = c
	}
	for name, c := range w.honestCases() {
		cases[name] = c
	}
	// Its twin is what both authors have signed.
	threshold := cases["below threshold"]
	threshold.unbroken = func(t *testing.T, _ *victim) *tampering {
		return forging(t, func(original []byte) []byte { return seal(t, openEnvelope(t, original).Payload, w.author, w.second) })
	}
	cases["below threshold"] = threshold
	return cases
}

// trustCases break the trust documents.
func (w *tampered) trustCases() map[string]tamperCase {
	return map[string]tamperCase{
		"trust flipped": distrusted("no valid signature", func(t *testing.T, _ *victim, documents []json.RawMessage) []json.RawMessage {
			require.NotEmpty(t, documents)
			for n := range documents {
				documents[n] = flipPayload(t, documents[n])
			}
			return documents
		}),
		"trust signature flipped": distrusted("no valid signature", func(t *testing.T, _ *victim, documents []json.RawMessage) []json.RawMessage {
			require.NotEmpty(t, documents)
			for n := range documents {
				documents[n] = flipSignatures(t, documents[n])
			}
			return documents
		}),
		"trust not of the old root": distrusted("no valid signature", func(t *testing.T, _ *victim, _ []json.RawMessage) []json.RawMessage {
			enemy := newKey(t)
			return []json.RawMessage{signedTrust(t, trust.Document{
				Version: 90, IssuedAt: time.Now(), Keys: []trust.Key{enemy.Entry(trust.RoleRoot, trust.RoleAuthor)},
			}, enemy)}
		}),
		"trust not of the new root": distrusted("version 90", func(t *testing.T, v *victim, _ []json.RawMessage) []json.RawMessage {
			next := v.document(90, newKey(t).Entry(trust.RoleRoot))
			next.Thresholds = map[trust.Role]int{trust.RoleRoot: 2}
			return []json.RawMessage{signedTrust(t, next, v.root)}
		}),
		"trust by the server key": distrusted("no valid signature", func(t *testing.T, v *victim, _ []json.RawMessage) []json.RawMessage {
			return []json.RawMessage{signedTrust(t, v.document(90), v.server)}
		}),
		"trust malformed": distrusted("unknown key", func(t *testing.T, v *victim, _ []json.RawMessage) []json.RawMessage {
			honest := openEnvelope(t, signedTrust(t, v.document(90), v.root))
			data, err := trust.SignEnvelope(trust.PayloadType, with(honest.Payload, `"more":1`), v.root)
			require.NoError(t, err)
			return []json.RawMessage{data}
		}),
		"trust older": {
			state: "refused", reason: "signature_invalid", says: "no valid signature",
			prepare: func(t *testing.T, v *victim) { v.agent.once(t) }, // takes the newer document
			broken: func(t *testing.T, v *victim) *tampering {
				// By the old one, in which both are trusted, the package would run.
				what := forging(t, func(original []byte) []byte {
					return seal(t, openEnvelope(t, original).Payload, v.removed, v.alsoRemoved)
				})
				what.trust = func([]json.RawMessage) []json.RawMessage { return []json.RawMessage{v.old} }
				return what
			},
		},
	}
}

// honestCases are about instructions that were honestly signed, but not for this, or not for now.
func (w *tampered) honestCases() map[string]tamperCase {
	sign := func(t *testing.T, v *victim) {
		v.s.call(t, "POST", "/packages/"+v.packageID+"/sign", map[string]any{}, nil)
	}
	return map[string]tamperCase{
		"another package": {state: "refused", reason: "mismatch", says: "other-package", broken: func(t *testing.T, v *victim) *tampering {
			other := v.s.signed(t, v.s.offer(t, spec{
				Name: "other-package", Priority: 5, Action: "execute", Command: []string{"touch", v.evil},
			}))
			return forging(t, func([]byte) []byte { return other })
		}},
		"older serial": func() tamperCase {
			var older []byte
			return tamperCase{
				state: "refused", reason: "older_serial", says: "is older than",
				prepare: func(t *testing.T, v *victim) {
					older = v.s.signed(t, v.packageID)
					sign(t, v)
					v.runOnce(t) // the device has seen the newer one
				},
				broken: func(t *testing.T, _ *victim) *tampering { return forging(t, func([]byte) []byte { return older }) },
			}
		}(),
		"expired": {
			state: "waiting", reason: "sign_again", says: "expired at",
			broken: func(t *testing.T, v *victim) *tampering {
				return forging(t, func(original []byte) []byte {
					return seal(t, edited(t, original, func(i *instruction.Instruction) {
						i.IssuedAt, i.ExpiresAt = i.IssuedAt.Add(-2*time.Hour), i.IssuedAt.Add(-time.Hour)
					}), v.server)
				})
			},
			heal: sign, // and it goes on by itself
		},
		"revoked": {
			state: "refused", reason: "revoked", says: "is revoked",
			prepare: func(t *testing.T, v *victim) {
				sum := sha256.Sum256(openEnvelope(t, v.s.signed(t, v.packageID)).Payload)
				v.s.call(t, "POST", "/trust/revocations", map[string]any{"names": []string{hex.EncodeToString(sum[:])}}, nil)
			},
			heal: func(t *testing.T, v *victim) {
				sign(t, v) // other bytes: what is revoked stays so
				v.s.call(t, "POST", "/deployments/"+v.deployment+"/retry", nil, nil)
			},
		},
	}
}
