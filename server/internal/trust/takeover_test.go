package trust_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	trustdoc "github.com/muster/muster/packages/trust"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
	"github.com/muster/muster/server/internal/trust"
)

func newKey(t *testing.T) trustdoc.PrivateKey {
	t.Helper()
	k, err := trustdoc.GenerateKey()
	require.NoError(t, err)
	return k
}

// takeOver is the next document, signed by the new root alone, as the command line hands it in.
func takeOver(t *testing.T, s *trust.Service, root, author trustdoc.PrivateKey) []byte {
	t.Helper()
	next, err := s.Current().Next(trustdoc.TakeOver(s.Current(), root.PublicKey(), author.PublicKey()), now)
	require.NoError(t, err)
	envelope, err := next.Sign(root)
	require.NoError(t, err)
	return envelope
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestCosign_takesOver(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		keys := t.TempDir()
		s := start(t, db, keys)
		told := 0
		s.Subscribe(func(context.Context) { told++ })
		first := s.RootFingerprint()
		root, author := newKey(t), newKey(t)
		envelope := takeOver(t, s, root, author)

		alone, err := s.Current().Next(trustdoc.TakeOver(s.Current(), root.PublicKey(), author.PublicKey()), now)
		require.NoError(t, err)
		unsigned, err := alone.Propose()
		require.NoError(t, err)
		require.Equal(t, protocol.ReasonTrust, instruction.ReasonOf(s.Cosign(ctx, unsigned)), "a root that does not agree would end the chain")
		require.True(t, s.CanSign())
		require.Len(t, files(t, keys), 2)
		require.Zero(t, told)

		require.NoError(t, s.Cosign(ctx, envelope))
		require.Equal(t, 1, told)
		require.False(t, s.CanSign())
		require.False(t, s.HasRoot())
		require.Empty(t, files(t, keys))
		require.Equal(t, root.ID(), s.RootFingerprint())
		doc, err := trustdoc.VerifyChain(first, nil, chainOf(s))
		require.NoError(t, err, "devices follow from the first root")
		require.Equal(t, []trustdoc.Key{root.Entry(trustdoc.RoleRoot), author.Entry(trustdoc.RoleAuthor)}, doc.Keys)
		require.True(t, fault.Is(s.Cosign(ctx, envelope), fault.Conflict))
		require.True(t, fault.Is(s.Rotate(ctx), fault.Conflict))
		require.True(t, fault.Is(s.RemoveKey(ctx, author.ID()), fault.Conflict))
		require.Empty(t, files(t, keys))
	})
}

// TestCosign_aKeyThatStays: the other one goes all the same, wherever they are, and the next start tries again.
func TestCosign_aKeyThatStays(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, store.SQLite)
	keys := filepath.Join(t.TempDir(), "keys [1")
	s := start(t, db, keys)
	obstacle := filepath.Join(keys, ".root.pem.1.tmp")
	require.NoError(t, os.Mkdir(obstacle, 0o700))
	require.ErrorContains(t, s.Cosign(context.Background(), takeOver(t, s, newKey(t), newKey(t))), "not all private keys")
	require.False(t, s.CanSign())
	require.Equal(t, []string{".root.pem.1.tmp", "root.pem"}, files(t, keys))
	require.NoError(t, os.Remove(obstacle))
	start(t, db, keys)
	require.Empty(t, files(t, keys))
}

// TestStart_afterACrashWithinATakeOver: the document is in the database, the keys are still there.
func TestStart_afterACrashWithinATakeOver(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		keys := t.TempDir()
		s := start(t, db, keys)
		kept := t.TempDir()
		require.NoError(t, os.CopyFS(kept, os.DirFS(keys)))
		require.NoError(t, s.Cosign(context.Background(), takeOver(t, s, newKey(t), newKey(t))))
		require.NoError(t, os.WriteFile(filepath.Join(kept, ".root.pem.1.tmp"), []byte("cut off"), 0o600))
		for _, name := range []string{"root.pem", "server.pem"} {
			require.NoError(t, os.Chmod(filepath.Join(kept, name), 0o600))
		}
		again := start(t, db, kept)
		require.False(t, again.CanSign())
		require.Empty(t, files(t, kept), "the next start deletes what the document no longer names")

		// Keys of another server's database are not deleted by a slip in --database.
		other := t.TempDir()
		start(t, storetest.Open(t, store.SQLite), other)
		require.Len(t, files(t, other), 2)
		start(t, db, other)
		require.Len(t, files(t, other), 2)
	})
}

// TestRotate: new root and server key; the old ones are gone, and a crash at either side of the
// publication is finished at the next start.
func TestRotate(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		keys := t.TempDir()
		s := start(t, db, keys)
		first := s.RootFingerprint()
		old, _, err := s.SignInstruction(sample(t))
		require.NoError(t, err)

		// Cut off before the publication: the keys that were made are dropped.
		next := newKey(t)
		require.NoError(t, trustdoc.SaveKey(filepath.Join(keys, "next-root.pem"), next))
		s = start(t, db, keys)
		require.Equal(t, first, s.RootFingerprint())
		require.Equal(t, []string{"root.pem", "server.pem"}, files(t, keys))

		require.NoError(t, s.Rotate(ctx))
		require.NotEqual(t, first, s.RootFingerprint())
		require.True(t, s.CanSign())
		require.Equal(t, []string{"root.pem", "server.pem"}, files(t, keys))
		_, _, err = s.VerifyInstruction(old)
		require.Equal(t, protocol.ReasonSignature, instruction.ReasonOf(err))
		_, _, err = s.SignInstruction(sample(t))
		require.NoError(t, err)
		require.Equal(t, s.RootFingerprint(), start(t, db, keys).RootFingerprint())

		// Cut off after the publication, before the new keys are in their place.
		rootPEM, err := os.ReadFile(filepath.Join(keys, "root.pem"))
		require.NoError(t, err)
		before := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(before, "next-root.pem"), rootPEM, 0o600))
		again := start(t, db, before)
		require.True(t, again.HasRoot())
		require.Equal(t, []string{"root.pem"}, files(t, before))
		doc, err := trustdoc.VerifyChain(first, nil, chainOf(again))
		require.NoError(t, err)
		require.Equal(t, 2, doc.Version)
	})
}

// TestPublish_restoredFromABackup: a server restored to before the take-over gets the document again, and
// loses its keys again.
func TestPublish_restoredFromABackup(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	keys, backup := t.TempDir(), t.TempDir()
	db, restored := storetest.Open(t, store.SQLite), storetest.Open(t, store.SQLite)
	s := start(t, db, keys)
	require.NoError(t, os.CopyFS(backup, os.DirFS(keys)))
	for _, name := range files(t, backup) {
		require.NoError(t, os.Chmod(filepath.Join(backup, name), 0o600))
	}
	require.NoError(t, restored.Exec("INSERT INTO trust_documents (version, envelope, created_at) VALUES (1, ?, ?)", string(s.ChainSince(0)[0]), now).Error)
	require.NoError(t, s.Cosign(ctx, takeOver(t, s, newKey(t), newKey(t))))

	back := start(t, restored, backup)
	require.True(t, back.CanSign(), "it does not know better")
	require.NoError(t, back.Publish(ctx, s.ChainSince(1)[0]))
	require.False(t, back.CanSign())
	require.Empty(t, files(t, backup))
}

// TestPublish_many: neither memory nor database nor what devices are sent grows with the versions.
func TestPublish_many(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := storetest.Open(t, store.SQLite)
	keys := t.TempDir()
	s := start(t, db, keys)
	author := newKey(t)
	require.NoError(t, s.AddKey(ctx, author.Entry(trustdoc.RoleAuthor)))
	names := make([]string, 5000)
	for n := range names {
		names[n] = protocol.HashSecret(string(rune(n)))
	}
	require.NoError(t, s.Revoke(ctx, names...))
	for n := range 24 {
		require.NoError(t, s.Revoke(ctx, protocol.HashSecret("x"+string(rune(n)))))
	}
	require.Equal(t, 27, s.Version())
	require.Len(t, s.ChainSince(0), 2, "the first document and the newest")
	require.Len(t, s.ChainSince(26), 1)
	doc, err := trustdoc.VerifyChain(s.RootFingerprint(), nil, chainOf(s))
	require.NoError(t, err)
	require.Len(t, doc.Revoked, 5024)
	var stored int
	require.NoError(t, db.Raw("SELECT SUM(LENGTH(envelope)) FROM trust_documents").Scan(&stored).Error)
	require.Less(t, stored, 10<<20)
	again := trust.New(trust.Options{DB: db, Keys: keys, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, again.Start(ctx))
	require.Equal(t, 27, again.Version())
	require.True(t, again.CanSign())
}
