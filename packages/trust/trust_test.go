package trust_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/packages/trust"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func key(t testing.TB) trust.PrivateKey {
	t.Helper()
	k, err := trust.GenerateKey()
	require.NoError(t, err)
	return k
}

func sample(t testing.TB) *instruction.Instruction {
	t.Helper()
	i, err := instruction.Build(instruction.Spec{
		ID: "01960000-0000-7000-8000-000000000001", Name: "hello", Version: "1", Action: instruction.Execute, Command: []string{"/bin/true"},
	}, nil, now, time.Hour)
	require.NoError(t, err)
	return i
}

func payloadOf(t testing.TB) []byte {
	t.Helper()
	payload, err := sample(t).Encode()
	require.NoError(t, err)
	return payload
}

func seal(t testing.TB, payloadType string, payload []byte, keys ...trust.PrivateKey) []byte {
	t.Helper()
	envelope, err := trust.SignEnvelope(payloadType, payload, keys...)
	require.NoError(t, err)
	return envelope
}

// world is a trust document with one key of each role, two authors.
type world struct {
	root, author, author2, release, server, stranger trust.PrivateKey
	doc                                              *trust.Document
}

// The keys are the same in every process: the fuzz engine makes the seeds in one, and tries them in others.
func newWorld(t testing.TB) world {
	w := world{root: fixedKey(t, 1), author: fixedKey(t, 2), author2: fixedKey(t, 3), release: fixedKey(t, 4), server: fixedKey(t, 5), stranger: fixedKey(t, 6)}
	w.doc = &trust.Document{Format: 1, Version: 1, IssuedAt: now, Keys: []trust.Key{
		w.root.Entry(trust.RoleRoot), w.author.Entry(trust.RoleAuthor), w.author2.Entry(trust.RoleAuthor),
		w.release.Entry(trust.RoleRelease), w.server.Entry(trust.RoleServer),
	}}
	require.NoError(t, w.doc.Validate())
	return w
}

func TestVerifyInstruction_accepts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, keys := range map[string][]trust.PrivateKey{
		"author": {w.author}, "server": {w.server}, "author beside a stranger": {w.stranger, w.author}, "two authors": {w.author, w.author2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, ids, err := w.doc.VerifyInstruction(seal(t, instruction.PayloadType, payloadOf(t), keys...))
			require.NoError(t, err)
			require.Equal(t, sample(t), i)
			for _, id := range ids {
				require.NotEqual(t, w.stranger.ID(), id)
			}
			require.NotEmpty(t, ids)
		})
	}
}

func TestVerifyInstruction_refuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	payload := payloadOf(t)
	good := string(seal(t, instruction.PayloadType, payload, w.author))
	signed := func(payload string) string {
		return string(seal(t, instruction.PayloadType, []byte(payload), w.author))
	}
	swap := func(old, repl string) string {
		require.Contains(t, good, old)
		return strings.Replace(good, old, repl, 1)
	}
	doc := func(change func(d *trust.Document)) *trust.Document {
		d := *w.doc
		change(&d)
		require.NoError(t, d.Validate())
		return &d
	}
	two := doc(func(d *trust.Document) { d.Thresholds = map[trust.Role]int{trust.RoleAuthor: 2} })
	other := strings.Replace(string(payload), "/bin/true", "/bin/evil", 1)
	for name, c := range map[string]struct {
		doc      *trust.Document
		envelope string
		reason   protocol.Reason
	}{
		"wrong key":              {w.doc, string(seal(t, instruction.PayloadType, payload, w.stranger)), protocol.ReasonSignature},
		"key without the role":   {w.doc, string(seal(t, instruction.PayloadType, payload, w.release)), protocol.ReasonRole},
		"root is no author":      {w.doc, string(seal(t, instruction.PayloadType, payload, w.root)), protocol.ReasonRole},
		"stranger under our id":  {w.doc, strings.Replace(string(seal(t, instruction.PayloadType, payload, w.stranger)), w.stranger.ID(), w.author.ID(), 1), protocol.ReasonSignature},
		"changed payload":        {w.doc, swap(base64.StdEncoding.EncodeToString(payload), base64.StdEncoding.EncodeToString([]byte(other))), protocol.ReasonSignature},
		"below threshold":        {two, good, protocol.ReasonThreshold},
		"same key twice":         {two, string(seal(t, instruction.PayloadType, payload, w.author, w.author)), protocol.ReasonThreshold},
		"author and stranger":    {two, string(seal(t, instruction.PayloadType, payload, w.author, w.stranger)), protocol.ReasonThreshold},
		"other payload type":     {w.doc, string(seal(t, trust.PayloadType, payload, w.author)), protocol.ReasonPayloadType},
		"renamed payload type":   {w.doc, strings.Replace(string(seal(t, "text/plain", payload, w.author)), "text/plain", instruction.PayloadType, 1), protocol.ReasonSignature},
		"revoked by id":          {doc(func(d *trust.Document) { d.Revoked = []string{sample(t).ID} }), good, protocol.ReasonRevoked},
		"revoked by digest":      {doc(func(d *trust.Document) { d.Revoked = []string{protocol.HashSecret(string(payload))} }), good, protocol.ReasonRevoked},
		"duplicate key":          {w.doc, signed(strings.Replace(string(payload), `{`, `{"name":"x",`, 1)), protocol.ReasonMalformed},
		"case variant":           {w.doc, signed(strings.Replace(string(payload), `"command"`, `"Command"`, 1)), protocol.ReasonMalformed},
		"trailing in payload":    {w.doc, signed(string(payload) + " {}"), protocol.ReasonMalformed},
		"unknown critical":       {w.doc, signed(strings.Replace(string(payload), `{`, `{"critical":["sandbox"],`, 1)), protocol.ReasonCritical},
		"envelope duplicate key": {w.doc, swap(`{"payloadType"`, `{"payloadType":"x","payloadType"`), protocol.ReasonMalformed},
		"envelope case variant":  {w.doc, swap(`"payloadType"`, `"payloadtype"`), protocol.ReasonMalformed},
		"envelope unknown key":   {w.doc, swap(`{"payloadType"`, `{"more":1,"payloadType"`), protocol.ReasonMalformed},
		"envelope trailing":      {w.doc, good + "x", protocol.ReasonMalformed},
		"envelope too long":      {w.doc, good + strings.Repeat(" ", instruction.MaxEnvelope), protocol.ReasonMalformed},
		"envelope empty":         {w.doc, "", protocol.ReasonMalformed},
		"no signature":           {w.doc, fmt.Sprintf(`{"payloadType":%q,"payload":"e30=","signatures":[]}`, instruction.PayloadType), protocol.ReasonSignature},
		"no base64":              {w.doc, fmt.Sprintf(`{"payloadType":%q,"payload":"!","signatures":[]}`, instruction.PayloadType), protocol.ReasonMalformed},
		"too many signatures": {w.doc, fmt.Sprintf(`{"payloadType":%q,"payload":"e30=","signatures":[%s]}`, instruction.PayloadType,
			strings.Repeat(`{"keyid":"a","sig":"b"},`, 32)+`{"keyid":"a","sig":"b"}`), protocol.ReasonMalformed},
		"nobody may sign": {doc(func(d *trust.Document) { d.Keys = d.Keys[:1] }), good, protocol.ReasonSignature},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, ids, err := c.doc.VerifyInstruction([]byte(c.envelope))
			require.Error(t, err)
			require.Nil(t, i)
			require.Empty(t, ids)
			require.Equal(t, c.reason, instruction.ReasonOf(err), err)
			require.False(t, fault.Retryable(err))
		})
	}
}

func releasePayload(t testing.TB) []byte {
	t.Helper()
	r := release.Release{Format: release.Format, ID: "01960000-0000-7000-8000-000000000002", Version: "1.4.0", Builds: []release.Build{{
		OS: "linux", Arch: "amd64", SHA256: strings.Repeat("c", 64), Size: 100, Archive: instruction.Archive{
			Format: release.ArchiveFormat, Size: 30, SHA256: strings.Repeat("a", 64),
			Fragments: []instruction.Fragment{{SHA256: strings.Repeat("1", 64), Length: 30}},
		},
	}}}
	r.Stamp(now, 0)
	payload, err := r.Encode()
	require.NoError(t, err)
	return payload
}

func TestVerifyRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	payload := releasePayload(t)
	good := seal(t, release.PayloadType, payload, w.release)
	r, ids, err := w.doc.VerifyRelease(good)
	require.NoError(t, err)
	require.Equal(t, "1.4.0", r.Version)
	require.Equal(t, []string{w.release.ID()}, ids)

	doc := func(change func(d *trust.Document)) *trust.Document {
		d := *w.doc
		change(&d)
		require.NoError(t, d.Validate())
		return &d
	}
	two := doc(func(d *trust.Document) {
		d.Keys = append(slices.Clone(d.Keys), w.stranger.Entry(trust.RoleRelease))
		d.Thresholds = map[trust.Role]int{trust.RoleRelease: 2}
	})
	none := doc(func(d *trust.Document) {
		d.Keys = slices.DeleteFunc(slices.Clone(d.Keys), func(k trust.Key) bool { return k.Has(trust.RoleRelease) })
	})
	for name, c := range map[string]struct {
		doc      *trust.Document
		envelope []byte
		reason   protocol.Reason
	}{
		"a stranger's key":     {w.doc, seal(t, release.PayloadType, payload, w.stranger), protocol.ReasonSignature},
		"the server's key":     {w.doc, seal(t, release.PayloadType, payload, w.server), protocol.ReasonRole},
		"an author's key":      {w.doc, seal(t, release.PayloadType, payload, w.author), protocol.ReasonRole},
		"the root's key":       {w.doc, seal(t, release.PayloadType, payload, w.root), protocol.ReasonRole},
		"no key is trusted":    {none, good, protocol.ReasonSignature},
		"below threshold":      {two, good, protocol.ReasonThreshold},
		"same key twice":       {two, seal(t, release.PayloadType, payload, w.release, w.release), protocol.ReasonThreshold},
		"an instruction":       {w.doc, seal(t, instruction.PayloadType, payload, w.release), protocol.ReasonPayloadType},
		"renamed payload type": {w.doc, bytes.Replace(seal(t, "text/plain", payload, w.release), []byte("text/plain"), []byte(release.PayloadType), 1), protocol.ReasonSignature},
		"revoked by id":        {doc(func(d *trust.Document) { d.Revoked = []string{r.ID} }), good, protocol.ReasonRevoked},
		"revoked by digest":    {doc(func(d *trust.Document) { d.Revoked = []string{protocol.HashSecret(string(payload))} }), good, protocol.ReasonRevoked},
		"another document":     {w.doc, seal(t, release.PayloadType, payloadOf(t), w.release), protocol.ReasonMalformed},
		"envelope too long":    {w.doc, append(bytes.Clone(good), make([]byte, release.MaxEnvelope)...), protocol.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _, err := c.doc.VerifyRelease(c.envelope)
			require.Nil(t, r)
			require.Equal(t, c.reason, instruction.ReasonOf(err), err)
		})
	}
	both, err := trust.Cosign(release.PayloadType, good, w.stranger)
	require.NoError(t, err)
	_, ids, err = two.VerifyRelease(both)
	require.NoError(t, err)
	require.Len(t, ids, 2)
}

func TestVerifyInstruction_everyBitCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	payload := payloadOf(t)
	envelope := seal(t, instruction.PayloadType, payload, w.author)
	var env struct {
		PayloadType string              `json:"payloadType"`
		Payload     []byte              `json:"payload"`
		Signatures  []map[string]string `json:"signatures"`
	}
	require.NoError(t, json.Unmarshal(envelope, &env))
	sig, err := base64.StdEncoding.DecodeString(env.Signatures[0]["sig"])
	require.NoError(t, err)
	refused := func() {
		b, err := json.Marshal(env)
		require.NoError(t, err)
		_, _, err = w.doc.VerifyInstruction(b)
		require.Equal(t, protocol.ReasonSignature, instruction.ReasonOf(err))
	}
	for bit := range len(payload) * 8 {
		env.Payload[bit/8] ^= 1 << (bit % 8)
		refused()
		env.Payload[bit/8] ^= 1 << (bit % 8)
	}
	for bit := range len(sig) * 8 {
		sig[bit/8] ^= 1 << (bit % 8)
		env.Signatures[0]["sig"] = base64.StdEncoding.EncodeToString(sig)
		refused()
		sig[bit/8] ^= 1 << (bit % 8)
	}
}

func TestCosign_reachesTheThreshold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.doc.Thresholds = map[trust.Role]int{trust.RoleAuthor: 2}
	one := seal(t, instruction.PayloadType, payloadOf(t), w.author)
	both, err := trust.Cosign(instruction.PayloadType, one, w.author2)
	require.NoError(t, err)
	_, ids, err := w.doc.VerifyInstruction(both)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{w.author.ID(), w.author2.ID()}, ids)

	again, err := trust.Cosign(instruction.PayloadType, one, w.author)
	require.NoError(t, err)
	require.Equal(t, one, again, "signing twice adds nothing")
	_, err = trust.Cosign(trust.PayloadType, one, w.author2)
	require.Equal(t, protocol.ReasonPayloadType, instruction.ReasonOf(err))
}

func TestSignEnvelope_needsAKey(t *testing.T) {
	t.Parallel()
	_, err := trust.SignEnvelope("x", []byte("y"))
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
	_, err = trust.SignEnvelope("x", []byte("y"), trust.PrivateKey{})
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
}

func TestExpired(t *testing.T) {
	t.Parallel()
	i := sample(t)
	require.False(t, trust.Expired(i, now))
	require.False(t, trust.Expired(i, i.ExpiresAt.Add(-time.Nanosecond)))
	require.True(t, trust.Expired(i, i.ExpiresAt))
}

func FuzzVerifyEnvelope(f *testing.F) {
	w := newWorld(f)
	good := seal(f, instruction.PayloadType, payloadOf(f), w.author)
	f.Add(good)
	f.Add(seal(f, trust.PayloadType, []byte("{}"), w.author))
	f.Add([]byte(`{"payloadType":"","payload":"","signatures":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, ids, err := w.doc.VerifyInstruction(data)
		if err != nil {
			require.NotEmpty(t, instruction.ReasonOf(err))
			return
		}
		require.Equal(t, sample(t), i, "nothing but the signed document may come out")
		require.Equal(t, []string{w.author.ID()}, ids)
	})
}

func FuzzVerifyRelease(f *testing.F) {
	w := newWorld(f)
	payload := releasePayload(f)
	f.Add(seal(f, release.PayloadType, payload, w.release))
	f.Add(seal(f, release.PayloadType, payload, w.author))
	f.Add([]byte(`{"payloadType":"","payload":"","signatures":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, ids, err := w.doc.VerifyRelease(data)
		if err != nil {
			require.NotEmpty(t, instruction.ReasonOf(err))
			return
		}
		got, err := r.Encode()
		require.NoError(t, err)
		require.Equal(t, string(payload), string(got), "nothing but the signed document may come out")
		require.Equal(t, []string{w.release.ID()}, ids)
	})
}

func fixedKey(t testing.TB, n byte) trust.PrivateKey {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize)))
	require.NoError(t, err)
	k, err := trust.ParsePEM(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	require.NoError(t, err)
	return k
}
