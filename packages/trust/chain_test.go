package trust_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

func version(n int, keys ...trust.Key) *trust.Document {
	return &trust.Document{Format: 1, Version: n, IssuedAt: now, Keys: keys}
}

func signDoc(t testing.TB, d *trust.Document, keys ...trust.PrivateKey) []byte {
	t.Helper()
	b, err := d.Sign(keys...)
	require.NoError(t, err)
	return b
}

func TestVerifyChain_follows(t *testing.T) {
	t.Parallel()
	r1, r2, server := key(t), key(t), key(t)
	v1 := signDoc(t, version(1, r1.Entry(trust.RoleRoot), server.Entry(trust.RoleServer)), r1)
	v2 := signDoc(t, version(2, r2.Entry(trust.RoleRoot)), r1, r2) // take-over: a new root, no server key
	v5 := signDoc(t, version(5, r2.Entry(trust.RoleRoot), server.Entry(trust.RoleAuthor)), r2)

	d1, err := trust.VerifyChain(r1.ID(), nil, [][]byte{v1})
	require.NoError(t, err)
	require.Equal(t, 1, d1.Version)
	d5, err := trust.VerifyChain(r1.ID(), nil, [][]byte{v1, v2, v5})
	require.NoError(t, err)
	require.Equal(t, 5, d5.Version)
	d5, err = trust.VerifyChain(r1.ID(), d1, [][]byte{v2, v5})
	require.NoError(t, err)
	require.Equal(t, 5, d5.Version)

	again, err := trust.VerifyChain(r1.ID(), d5, [][]byte{v1, v2, v5})
	require.NoError(t, err, "what is known already is no error and no step back")
	require.Same(t, d5, again)
	same, err := trust.VerifyChain(r1.ID(), d1, nil)
	require.NoError(t, err)
	require.Same(t, d1, same)

	late, err := trust.VerifyChain(r2.ID(), nil, [][]byte{v1, v2, v5})
	require.NoError(t, err, "a device that enrolled with the new root skips what was before it")
	require.Equal(t, 5, late.Version)
}

func TestVerifyChain_refuses(t *testing.T) {
	t.Parallel()
	r1, r2, stranger, server := key(t), key(t), key(t), key(t)
	one := version(1, r1.Entry(trust.RoleRoot), server.Entry(trust.RoleServer))
	v1 := signDoc(t, one, r1)
	both := version(1, r1.Entry(trust.RoleRoot), r2.Entry(trust.RoleRoot))
	both.Thresholds = map[trust.Role]int{trust.RoleRoot: 2}
	raw := func(change func(s string) string) []byte {
		payload, err := json.Marshal(one)
		require.NoError(t, err)
		return seal(t, trust.PayloadType, []byte(change(string(payload))), r1)
	}
	for name, c := range map[string]struct {
		current *trust.Document
		chain   [][]byte
	}{
		"nothing":                       {nil, nil},
		"another root":                  {nil, [][]byte{signDoc(t, version(1, stranger.Entry(trust.RoleRoot)), stranger)}},
		"root listed but did not sign":  {nil, [][]byte{signDoc(t, version(1, r1.Entry(trust.RoleRoot), stranger.Entry(trust.RoleRoot)), stranger)}},
		"root signs without the role":   {nil, [][]byte{signDoc(t, version(1, r1.Entry(trust.RoleAuthor), stranger.Entry(trust.RoleRoot)), r1, stranger)}},
		"first below its own threshold": {nil, [][]byte{signDoc(t, both, r1)}},
		"next by a stranger":            {one, [][]byte{signDoc(t, version(2, stranger.Entry(trust.RoleRoot)), stranger)}},
		"next by the server key":        {one, [][]byte{signDoc(t, version(2, server.Entry(trust.RoleRoot)), server)}},
		"next by the new root only":     {one, [][]byte{signDoc(t, version(2, r1.Entry(trust.RoleRoot), r2.Entry(trust.RoleRoot)), r2)}},
		"next without its own root":     {one, [][]byte{signDoc(t, version(2, r2.Entry(trust.RoleRoot)), r1)}},
		"next below old threshold":      {both, [][]byte{signDoc(t, version(2, r1.Entry(trust.RoleRoot)), r1)}},
		"a gap after a change of root":  {one, [][]byte{signDoc(t, version(3, r2.Entry(trust.RoleRoot)), r2)}},
		"good, then bad":                {nil, [][]byte{v1, signDoc(t, version(2, stranger.Entry(trust.RoleRoot)), stranger)}},
		"no envelope":                   {nil, [][]byte{[]byte("x")}},
		"other payload type":            {nil, [][]byte{seal(t, instruction.PayloadType, []byte("{}"), r1)}},
		"unknown key":                   {nil, [][]byte{raw(func(s string) string { return strings.Replace(s, "{", `{"more":1,`, 1) })}},
		"duplicate key":                 {nil, [][]byte{raw(func(s string) string { return strings.Replace(s, "{", `{"version":9,`, 1) })}},
		"case variant":                  {nil, [][]byte{raw(func(s string) string { return strings.Replace(s, "{", `{"Version":9,`, 1) })}},
		"trailing data":                 {nil, [][]byte{raw(func(s string) string { return s + "{}" })}},
		"not valid":                     {nil, [][]byte{raw(func(s string) string { return strings.Replace(s, `"version":1`, `"version":0`, 1) })}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := trust.VerifyChain(r1.ID(), c.current, c.chain)
			require.Error(t, err)
			require.Nil(t, d)
			require.Equal(t, protocol.ReasonTrust, instruction.ReasonOf(err), err)
			require.True(t, fault.Is(err, fault.Untrusted))
		})
	}
}

func TestDocument_Validate(t *testing.T) {
	t.Parallel()
	root, author := key(t), key(t)
	for name, c := range map[string]struct {
		change func(d *trust.Document)
		want   string
	}{
		"format":            {func(d *trust.Document) { d.Format = 2 }, "format is 2"},
		"version":           {func(d *trust.Document) { d.Version = 0 }, "version 0"},
		"no root":           {func(d *trust.Document) { d.Keys = d.Keys[1:] }, "no root key"},
		"key twice":         {func(d *trust.Document) { d.Keys = append(d.Keys, d.Keys[0]) }, "listed twice"},
		"key id":            {func(d *trust.Document) { d.Keys[1].ID = d.Keys[0].ID }, "not that of the public key"},
		"key short":         {func(d *trust.Document) { d.Keys[1].Public = d.Keys[1].Public[:31] }, "31 bytes"},
		"no role":           {func(d *trust.Document) { d.Keys[1].Roles = nil }, "no role"},
		"unknown role":      {func(d *trust.Document) { d.Keys[1].Roles = []trust.Role{"king"} }, `"king" is unknown`},
		"role twice":        {func(d *trust.Document) { d.Keys[1].Roles = []trust.Role{"author", "author"} }, "there twice"},
		"threshold role":    {func(d *trust.Document) { d.Thresholds = map[trust.Role]int{"king": 1} }, "not a role"},
		"threshold high":    {func(d *trust.Document) { d.Thresholds = map[trust.Role]int{trust.RoleAuthor: 2} }, "threshold 2"},
		"threshold zero":    {func(d *trust.Document) { d.Thresholds = map[trust.Role]int{trust.RoleRoot: 0} }, "threshold 0"},
		"revoked malformed": {func(d *trust.Document) { d.Revoked = []string{"x"} }, "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := version(1, root.Entry(trust.RoleRoot), author.Entry(trust.RoleAuthor))
			require.NoError(t, d.Validate())
			c.change(d)
			require.ErrorContains(t, d.Validate(), c.want)
			_, err := d.Sign(root)
			require.Error(t, err, "an invalid document is never signed")
		})
	}
}

// TestGolden keeps documents that were written before readable, byte for byte.
func TestGolden(t *testing.T) {
	t.Parallel()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		return b
	}
	k, err := trust.ParsePEM(read("root.pem"))
	require.NoError(t, err)
	d, err := trust.VerifyChain(k.ID(), nil, [][]byte{read("trust.json")})
	require.NoError(t, err)
	i, ids, err := d.VerifyInstruction(read("instruction.json"))
	require.NoError(t, err)
	require.Equal(t, "hello", i.Name)
	require.Equal(t, []string{k.ID()}, ids)

	again, err := d.Sign(k)
	require.NoError(t, err)
	require.Equal(t, string(read("trust.json")), string(again))
}

func FuzzDecodeTrust(f *testing.F) {
	root := key(f)
	f.Add(signDoc(f, version(1, root.Entry(trust.RoleRoot)), root))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := trust.VerifyChain(root.ID(), nil, [][]byte{data})
		if err != nil {
			require.Equal(t, protocol.ReasonTrust, instruction.ReasonOf(err))
			return
		}
		require.Equal(t, 1, d.Version)
	})
}

// FuzzDecodeTrustPayload reaches the decoder behind the signature.
func FuzzDecodeTrustPayload(f *testing.F) {
	root := key(f)
	payload, err := json.Marshal(version(1, root.Entry(trust.RoleRoot)))
	require.NoError(f, err)
	f.Add(payload)
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := trust.VerifyChain(root.ID(), nil, [][]byte{seal(t, trust.PayloadType, data, root)})
		if err == nil {
			require.NoError(t, d.Validate())
		}
	})
}
