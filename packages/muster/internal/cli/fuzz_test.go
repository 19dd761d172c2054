package cli

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/muster/internal/client"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

// A saved login is read as it was written, or the person is told to log in again.
func FuzzLoadConfig(f *testing.F) {
	f.Add([]byte(`{"server":"https://a","username":"u","token":"t","token_id":"i","ca":"-----BEGIN"}`))
	f.Add([]byte(`{"server":1}`))
	f.Add([]byte(`{"other":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a := &app{World: World{Getenv: func(string) string { return "" }}, configPath: filepath.Join(t.TempDir(), "config.json")}
		require.NoError(t, os.WriteFile(a.configPath, data, 0o600))
		c, err := a.loadConfig()
		if err != nil {
			require.Equal(t, fault.Invalid, fault.CodeOf(err))
			return
		}
		require.NoError(t, a.saveConfig(c))
		again, err := a.loadConfig()
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}

// Whatever a row of an inventory holds, it becomes two cells.
func FuzzRow(f *testing.F) {
	for _, s := range []string{`{"key":"sda","name":"Disk","size":5,"parts":[{"a":null}],"model":"x\u001b"}`, `{"name":{}}`, `[1]`, `{"a"`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		require.Len(t, row(data), 2)
		require.Len(t, moduleCells(data, []protocol.Column{{Name: "size", Type: protocol.ColumnBytes}, {Name: "parts", Type: protocol.ColumnTime}}), 3)
	})
}

// A time on the command line is a time, or the command line is wrong; never one in the past by mistake.
func FuzzMoment(f *testing.F) {
	for _, s := range []string{"2026-12-01T22:00:00Z", "2h30m", "-1s", "9999999h", "", "2026-12-01T22:00:00+14:00"} {
		f.Add(s)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		a := &app{World: World{Now: func() time.Time { return now }}}
		at, err := a.moment(s)
		var wrong usageError
		switch {
		case err != nil:
			require.ErrorAs(t, err, &wrong)
		case s == "":
			require.Nil(t, at)
		default:
			require.Equal(t, time.UTC, at.Location())
			if !strings.Contains(s, "T") {
				require.False(t, at.Before(now))
			}
		}
	})
}

// The tables of a package's description keep every entry, or the command line is wrong.
func FuzzTables(f *testing.F) {
	f.Add("A=b", "3010=reboot")
	f.Add("=", "x=success")
	f.Add("A", "99999999999999999999=retry")
	f.Fuzz(func(t *testing.T, env, code string) {
		flags := specFlags{env: []string{env}, exitCodes: []string{code}}
		var p client.NewPackage
		if err := flags.tables(&p); err != nil {
			var wrong usageError
			require.ErrorAs(t, err, &wrong)
			return
		}
		require.Len(t, p.Env, 1)
		for name, value := range p.Env {
			require.Equal(t, env, name+"="+value)
		}
		require.Len(t, p.ExitCodes, 1)
		require.True(t, strings.HasSuffix(code, "="+string(p.ExitCodes[0].Outcome)))
	})
}

// Nothing but a plain yes is a yes.
func FuzzConfirm(f *testing.F) {
	for _, s := range []string{"y\n", "YES", "yes please\n", "\n", "", "n\ny\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		a := &app{World: World{In: strings.NewReader(typed), Err: io.Discard, Terminal: true}}
		line, _, _ := strings.Cut(typed, "\n")
		if a.confirm("really?", false) == nil {
			require.Contains(t, []string{"y", "yes"}, strings.ToLower(strings.TrimSpace(line)))
		}
	})
}

// Only a whole id is taken for one; all else is looked for as a name.
func FuzzIsID(f *testing.F) {
	f.Add("01900000-0000-7000-8000-000000000001")
	f.Add("{01900000-0000-7000-8000-000000000001}")
	f.Add("0190000000007000800000000000000112345")
	f.Fuzz(func(t *testing.T, s string) {
		if isID(s) {
			require.NotContains(t, s, "/")
			require.Len(t, s, 36)
		}
	})
}

// What names a key or a number of keys is taken in one spelling's meaning, or the command line is wrong.
func FuzzTrustArguments(f *testing.F) {
	f.Add(strings.Repeat("0a", 32), "2")
	f.Add(strings.Repeat("0A", 31), "-1")
	f.Add("", "99999999999999999999")
	f.Fuzz(func(t *testing.T, key, count string) {
		var wrong usageError
		if public, err := publicKey(key); err != nil {
			require.ErrorAs(t, err, &wrong)
		} else {
			require.Equal(t, strings.ToLower(key), hex.EncodeToString(public))
		}
		if n, err := keyCount(count); err != nil {
			require.ErrorAs(t, err, &wrong)
		} else {
			require.Positive(t, n)
		}
	})
}

// A file with a proposed trust document, from whoever sent it, is shown only when its roots have signed the
// document that it follows.
func FuzzProposal(f *testing.F) {
	root := fixedKey(f)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	envelope := func(version int) json.RawMessage {
		d := &trust.Document{Format: trust.Format, Version: version, IssuedAt: now, Keys: []trust.Key{root.Entry(trust.RoleRoot)}}
		e, err := d.Sign(root)
		require.NoError(f, err)
		return e
	}
	both, err := json.Marshal(proposal{Present: envelope(1), Next: envelope(2)})
	require.NoError(f, err)
	f.Add(both)
	f.Add([]byte(envelope(1)))
	f.Add([]byte(`{"present":{},"next":{}}`))
	f.Add([]byte(`{"present":[],"next":[]}`))
	f.Add(bytes.Replace(both, []byte(`"signatures":[`), []byte(`"signatures":[],"x":[`), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "proposal.json")
		require.NoError(t, os.WriteFile(file, data, 0o600))
		p, err := readProposal(file)
		if err != nil {
			return
		}
		require.NotEmpty(t, p.Next)
		present, next, err := p.documents()
		if err != nil {
			return
		}
		require.NoError(t, present.Validate())
		require.NotNil(t, next)
		_, err = trust.VerifyChain(root.ID(), nil, [][]byte{p.Present})
		require.NoError(t, err, "nobody else's signatures are there to be found")
	})
}

// fixedKey is the same in every process: the engine makes the seeds in one, and tries them in others.
func fixedKey(t testing.TB) trust.PrivateKey {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	require.NoError(t, err)
	key, err := trust.ParsePEM(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	require.NoError(t, err)
	return key
}

// --since is a time that the server can read, or the command says what is wrong.
func FuzzSince(f *testing.F) {
	f.Add("24h")
	f.Add("2026-12-01T22:00:00+05:00")
	f.Add("-1h")
	f.Add("9999-12-31T23:59:59-23:59")
	f.Fuzz(func(t *testing.T, since string) {
		a := &app{World: World{Now: time.Now}}
		q, err := a.logQuery(logFlags{since: since})
		if err != nil {
			var u usageError
			require.ErrorAs(t, err, &u)
			return
		}
		if since != "" {
			_, err = time.Parse(time.RFC3339, q.Get("from"))
			require.NoError(t, err)
		}
	})
}
