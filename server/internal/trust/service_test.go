package trust_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	trustdoc "github.com/muster/muster/packages/trust"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
	"github.com/muster/muster/server/internal/trust"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func start(t *testing.T, db *store.DB, keys string) *trust.Service {
	t.Helper()
	s := trust.New(trust.Options{DB: db, Keys: keys, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
	require.NoError(t, s.Start(context.Background()))
	return s
}

func sample(t *testing.T) *instruction.Instruction {
	t.Helper()
	i, err := instruction.Build(instruction.Spec{
		ID: "01960000-0000-7000-8000-000000000001", Name: "hello", Version: "1", Action: instruction.Execute, Command: []string{"/bin/true"},
	}, nil, now, time.Hour)
	require.NoError(t, err)
	return i
}

func chainOf(s *trust.Service) [][]byte {
	var list [][]byte
	for _, e := range s.ChainSince(0) {
		list = append(list, e)
	}
	return list
}

func TestStart_newServerCanSignAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		keys := filepath.Join(t.TempDir(), "keys")
		s := start(t, db, keys)
		require.True(t, s.CanSign())
		require.Equal(t, 1, s.Version())
		for _, name := range []string{"root.pem", "server.pem"} {
			info, err := os.Stat(filepath.Join(keys, name))
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		}

		envelope, ids, err := s.SignInstruction(sample(t))
		require.NoError(t, err)
		require.Len(t, ids, 1)
		doc, err := trustdoc.VerifyChain(s.RootFingerprint(), nil, chainOf(s))
		require.NoError(t, err, "a device that knows the fingerprint follows the chain")
		i, by, err := doc.VerifyInstruction(envelope)
		require.NoError(t, err)
		require.Equal(t, ids, by)
		require.Equal(t, "hello", i.Name)

		again := start(t, db, keys)
		require.Equal(t, s.RootFingerprint(), again.RootFingerprint())
		require.Equal(t, s.ChainSince(0), again.ChainSince(0), "a restart makes nothing new")
		require.True(t, again.CanSign())
		require.Empty(t, again.ChainSince(1))
	})
}

func TestStart_afterACrashBetweenKeysAndDocument(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		keys := t.TempDir()
		root, err := trustdoc.GenerateKey()
		require.NoError(t, err)
		require.NoError(t, trustdoc.SaveKey(filepath.Join(keys, "root.pem"), root))
		s := start(t, db, keys)
		require.Equal(t, root.ID(), s.RootFingerprint())
		require.True(t, s.CanSign())
	})
}

func TestStart_otherKeys(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		first := start(t, db, t.TempDir())
		other := start(t, db, t.TempDir()) // the same database without the key files
		require.False(t, other.CanSign())
		require.Equal(t, first.RootFingerprint(), other.RootFingerprint())
		_, _, err := other.SignInstruction(sample(t))
		require.True(t, fault.Is(err, fault.Conflict))
		require.True(t, fault.Is(other.Revoke(context.Background(), sample(t).ID), fault.Conflict))
	})
}

func TestStart_refusesAnEditedDatabase(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		keys := t.TempDir()
		s := start(t, db, keys)
		require.NoError(t, s.Revoke(ctx, sample(t).ID))
		broken := strings.Replace(string(s.ChainSince(1)[0]), `"sig":"`, `"sig":"AAAA`, 1)
		require.NoError(t, db.With(ctx).Exec("UPDATE trust_documents SET envelope = ? WHERE version = 2", broken).Error)
		again := trust.New(trust.Options{DB: db, Keys: keys, Log: slog.New(slog.DiscardHandler)})
		require.Equal(t, protocol.ReasonTrust, instruction.ReasonOf(again.Start(ctx)))
	})
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		keys := t.TempDir()
		s := start(t, db, keys)
		envelope, _, err := s.SignInstruction(sample(t))
		require.NoError(t, err)
		require.NoError(t, s.Revoke(ctx, sample(t).ID, sample(t).ID))
		require.Equal(t, 2, s.Version())
		require.Equal(t, []string{sample(t).ID}, s.Current().Revoked)
		_, _, err = s.VerifyInstruction(envelope)
		require.Equal(t, protocol.ReasonRevoked, instruction.ReasonOf(err))
		_, _, err = s.SignInstruction(sample(t))
		require.Equal(t, protocol.ReasonRevoked, instruction.ReasonOf(err), "what is revoked is not signed again")
		require.True(t, fault.Is(s.Revoke(ctx, "nonsense"), fault.Invalid))
		require.Equal(t, s.ChainSince(0), start(t, db, keys).ChainSince(0))
		doc, err := trustdoc.VerifyChain(s.RootFingerprint(), nil, chainOf(s))
		require.NoError(t, err)
		require.Equal(t, 2, doc.Version)
	})
}

func TestAddKey(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		keys := t.TempDir()
		s := start(t, db, keys)
		author, err := trustdoc.GenerateKey()
		require.NoError(t, err)
		payload, err := sample(t).Encode()
		require.NoError(t, err)
		envelope, err := trustdoc.SignEnvelope(instruction.PayloadType, payload, author)
		require.NoError(t, err)
		_, _, err = s.VerifyInstruction(envelope)
		require.Equal(t, protocol.ReasonSignature, instruction.ReasonOf(err))

		require.NoError(t, s.AddKey(ctx, author.Entry(trustdoc.RoleAuthor)))
		_, by, err := s.VerifyInstruction(envelope)
		require.NoError(t, err)
		require.Equal(t, []string{author.ID()}, by)
		require.True(t, fault.Is(s.AddKey(ctx, author.Entry(trustdoc.RoleRelease)), fault.Conflict))
		doc, err := trustdoc.VerifyChain(s.RootFingerprint(), nil, chainOf(s))
		require.NoError(t, err)
		require.Equal(t, 2, doc.Version, "devices follow")

		require.NoError(t, os.Remove(filepath.Join(keys, "root.pem")))
		other, err := trustdoc.GenerateKey()
		require.NoError(t, err)
		require.True(t, fault.Is(start(t, db, keys).AddKey(ctx, other.Entry(trustdoc.RoleAuthor)), fault.Conflict), "no root key, no change")
	})
}

// TestPublish_takeOver walks the way to offline keys: afterwards the server can sign nothing.
func TestPublish_takeOver(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		keys := t.TempDir()
		s := start(t, db, keys)
		oldRoot, err := trustdoc.LoadKey(filepath.Join(keys, "root.pem"))
		require.NoError(t, err)
		root, err := trustdoc.GenerateKey()
		require.NoError(t, err)
		author, err := trustdoc.GenerateKey()
		require.NoError(t, err)
		next := &trustdoc.Document{Format: 1, Version: 2, IssuedAt: now, Keys: []trustdoc.Key{root.Entry(trustdoc.RoleRoot), author.Entry(trustdoc.RoleAuthor)}}

		alone, err := next.Sign(root)
		require.NoError(t, err)
		require.Equal(t, protocol.ReasonTrust, instruction.ReasonOf(s.Publish(ctx, alone)))
		require.True(t, s.CanSign(), "a refused document changes nothing")

		both, err := next.Sign(oldRoot, root)
		require.NoError(t, err)
		require.NoError(t, s.Publish(ctx, both))
		require.False(t, s.CanSign())
		require.Equal(t, root.ID(), s.RootFingerprint())
		_, _, err = s.SignInstruction(sample(t))
		require.True(t, fault.Is(err, fault.Conflict))
		require.True(t, fault.Is(s.Revoke(ctx, sample(t).ID), fault.Conflict))
		require.True(t, fault.Is(s.Publish(ctx, both), fault.Conflict), "the same version again")

		payload, err := sample(t).Encode()
		require.NoError(t, err)
		envelope, err := trustdoc.SignEnvelope(instruction.PayloadType, payload, author)
		require.NoError(t, err)
		_, ids, err := s.VerifyInstruction(envelope)
		require.NoError(t, err)
		require.Equal(t, []string{author.ID()}, ids)
	})
}

func TestAPI(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, store.SQLite)
	s := start(t, db, t.TempDir())
	mux := http.NewServeMux()
	(&trust.API{Service: s}).Register(humago.New(mux, api.Config("1")))
	call := func(method, path, body string, status int) map[string]any {
		t.Helper()
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		require.Equal(t, status, w.Code, w.Body.String())
		var out map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &out))
		return out
	}
	got := call("GET", "/trust", "", 200)
	require.EqualValues(t, 1, got["version"])
	require.Equal(t, true, got["server_can_sign"])
	require.Equal(t, s.RootFingerprint(), got["root_fingerprint"])
	require.Len(t, got["keys"], 2)
	require.Equal(t, []any{}, got["revoked"])
	require.Equal(t, map[string]any{"author": 1.0, "release": 1.0, "root": 1.0, "server": 1.0}, got["thresholds"])
	require.NotEmpty(t, got["envelope"])

	id := sample(t).ID
	got = call("POST", "/trust/revocations", `{"names":["`+id+`"]}`, 200)
	require.Equal(t, []any{id}, got["revoked"])
	require.Equal(t, "invalid", call("POST", "/trust/revocations", `{"names":["x"]}`, 400)["code"])
	require.Equal(t, "invalid", call("POST", "/trust/revocations", `{"names":[]}`, 400)["code"])
	require.Equal(t, "untrusted", call("PUT", "/trust", `{"envelope":"e30="}`, 422)["code"])
	require.NotContains(t, call("GET", "/trust", "", 200), "private")
}
