package e2e_test

import (
	"crypto/sha256"
	"crypto/tls"
	"database/sql"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver" // the enemy edits the server's database
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/trust"
)

// edit is what an enemy changes in the data directory of a server, for one device, while the server is
// down; the real muster-server then serves it.
type edit struct {
	change func(t *testing.T, c *prisoner, db *sql.DB)
	// state and reason are what becomes of the honest deployment.
	state, reason string
}

// prisoner is a captive to which an author-signed package of its own was assigned before the fall.
type prisoner struct {
	*captive
	packageID, deployment string
	older                 []byte // the same package, signed earlier by the author
}

// put writes a blob under its digest.
func (w *conquered) put(t *testing.T, data []byte) (digest string) {
	t.Helper()
	sum := sha256.Sum256(data)
	digest = hex.EncodeToString(sum[:])
	require.NoError(t, os.WriteFile(filepath.Join(w.s.data, "blobs", digest[:2], digest), data, 0o600))
	return digest
}

func edits() map[string]edit {
	exec := func(t *testing.T, db *sql.DB, query string, args ...any) {
		t.Helper()
		res, err := db.ExecContext(t.Context(), query, args...)
		require.NoError(t, err)
		n, err := res.RowsAffected()
		require.NoError(t, err)
		require.Positive(t, n, query)
	}
	point := func(t *testing.T, c *prisoner, db *sql.DB, envelope []byte) {
		t.Helper()
		digest := c.put(t, envelope)
		exec(t, db, "UPDATE deployments SET instruction = ? WHERE id = ?", digest, c.deployment)
		exec(t, db, "UPDATE packages SET instruction_digest = ? WHERE id = ?", digest, c.packageID)
	}
	return map[string]edit{
		"the command of the package": {func(t *testing.T, c *prisoner, db *sql.DB) {
			exec(t, db, "UPDATE packages SET spec = json_set(spec, '$.command', json_array('touch', ?)), action = 'execute' WHERE id = ?", c.evil, c.packageID)
		}, "succeeded", "exit_code"}, // what runs is what was signed
		"the digest of the instruction": {func(t *testing.T, c *prisoner, db *sql.DB) {
			doc := c.wish(t)
			honest := instructionOf(t, c.s.envelopeOf(t, db, c.packageID))
			doc.ID, doc.Name, doc.Version = honest.ID, honest.Name, honest.Version
			point(t, c, db, signedWith(t, doc, c.oldServer))
		}, "refused", "signature_invalid"},
		"an instruction of before take-over": {func(t *testing.T, c *prisoner, db *sql.DB) {
			i := instructionOf(t, c.replayed)
			point(t, c, db, c.replayed)
			exec(t, db, "UPDATE deployments SET package_id = ?, package_name = ?, package_version = ? WHERE id = ?", i.ID, i.Name, i.Version, c.deployment)
		}, "refused", "signature_invalid"},
		"another package's instruction": {func(t *testing.T, c *prisoner, db *sql.DB) {
			point(t, c, db, c.honest)
		}, "refused", "mismatch"},
		"an older instruction and its serial": {func(t *testing.T, c *prisoner, db *sql.DB) {
			point(t, c, db, c.older)
			exec(t, db, "UPDATE packages SET serial = ? WHERE id = ?", instructionOf(t, c.older).Serial, c.packageID)
		}, "refused", "older_serial"},
		"the priority": {func(t *testing.T, c *prisoner, db *sql.DB) {
			exec(t, db, "UPDATE deployments SET priority = 0 WHERE id = ?", c.deployment)
			exec(t, db, "UPDATE packages SET priority = 0 WHERE id = ?", c.packageID)
		}, "refused", "mismatch"},
		"the name": {func(t *testing.T, c *prisoner, db *sql.DB) {
			exec(t, db, "UPDATE deployments SET package_name = 'another' WHERE id = ?", c.deployment)
		}, "refused", "mismatch"},
		"the bytes of the archive": {func(t *testing.T, c *prisoner, db *sql.DB) {
			evil := tarGz(t, script("run.sh", "touch "+c.evil))
			for _, f := range instructionOf(t, c.s.envelopeOf(t, db, c.packageID)).Archive.Fragments {
				other := make([]byte, f.Length)
				copy(other, evil)
				require.NoError(t, os.WriteFile(filepath.Join(c.s.data, "blobs", f.SHA256[:2], f.SHA256), other, 0o600))
			}
		}, "refused", "digest_mismatch"},
	}
}

// envelopeOf reads the signed envelope of a package while the server is down.
func (s *server) envelopeOf(t *testing.T, db *sql.DB, packageID string) []byte {
	t.Helper()
	var digest string
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT instruction_digest FROM packages WHERE id = ?", packageID).Scan(&digest))
	data, err := os.ReadFile(filepath.Join(s.data, "blobs", digest[:2], digest))
	require.NoError(t, err)
	return data
}

// TestEnemy_database: the real muster-server serves a data directory that an enemy has edited.
func TestEnemy_database(t *testing.T) {
	t.Parallel()
	list := edits()
	names := append(slices.Sorted(maps.Keys(list)), "the old keys", "a forged chain")
	prisoners := map[string]*prisoner{}
	w, _ := conquer(t, names, func(c *captive, name string) {
		p := &prisoner{captive: c}
		prisoners[name] = p
		var envelopes [][]byte
		p.packageID, envelopes = c.sign(t, strings.ReplaceAll(name, " ", "-"))
		p.older = envelopes[0]
		p.deployment, _ = c.s.assign(t, p.packageID, c.agent.device)
		if list[name].reason == "older_serial" { // the device has seen the newer one
			c.agent.once(t)
			require.Equal(t, "succeeded", c.s.deployment(t, p.deployment).State)
			p.deployment, _ = c.s.assign(t, p.packageID, c.agent.device)
		}
	})
	identities := map[string][]byte{}
	for name, p := range prisoners {
		identities[name] = p.file(t, "identity.json")
	}

	w.editDatabase(t, func(db *sql.DB) {
		for name, e := range list {
			e.change(t, prisoners[name], db)
		}
	})
	w.s.launch(t)
	t.Run("edited", func(t *testing.T) {
		for name, e := range list {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := prisoners[name]
				require.Zero(t, p.once(t).code)
				d := p.s.deployment(t, p.deployment)
				require.Equal(t, e.state+" "+e.reason, d.State+" "+d.Reason, d.story())
			})
		}
	})
	w.s.stop(t)
	w.restoreOldKeys(t, prisoners["the old keys"])
	w.forgeChain(t, prisoners["a forged chain"])

	leaf := w.s.issue(t)
	for name, p := range prisoners {
		t.Run("unharmed after "+name, func(t *testing.T) {
			p.enemy = startEnemyServer(t, &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS13})
			p.relay.lead(p.enemy.address)
			p.requireUnharmed(t, identities[name])
		})
	}
}

func (w *conquered) editDatabase(t *testing.T, change func(db *sql.DB)) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(w.s.data, "muster.db"))
	require.NoError(t, err)
	change(db)
	require.NoError(t, db.Close())
}

// restoreOldKeys puts everything back that take-over took: the server can sign again, and believes that
// it may. Its devices know better.
func (w *conquered) restoreOldKeys(t *testing.T, p *prisoner) {
	t.Helper()
	w.editDatabase(t, func(db *sql.DB) {
		_, err := db.ExecContext(t.Context(), "DELETE FROM trust_documents WHERE version > 1")
		require.NoError(t, err)
	})
	keys := filepath.Join(w.s.data, "keys")
	require.NoError(t, trust.SaveKey(filepath.Join(keys, "root.pem"), w.oldRoot))
	require.NoError(t, trust.SaveKey(filepath.Join(keys, "server.pem"), w.oldServer))
	w.s.launch(t)
	id, _ := w.s.assign(t, w.s.offer(t, spec{Name: "evil", Priority: 5, Action: "execute", Command: []string{"touch", p.evil}}), p.agent.device)
	require.Zero(t, p.once(t).code)
	d := w.s.deployment(t, id)
	require.Equal(t, "refused signature_invalid", d.State+" "+d.Reason, d.story())
	w.s.stop(t)
}

// forgeChain puts a take-over of the enemy's in place of the owner's.
func (w *conquered) forgeChain(t *testing.T, p *prisoner) {
	t.Helper()
	enemy := newKey(t)
	w.editDatabase(t, func(db *sql.DB) {
		for version, document := range map[int][]byte{
			2: signedTrust(t, enemyTrust(2, enemy), w.oldRoot, enemy), 3: signedTrust(t, enemyTrust(3, enemy), enemy),
		} {
			_, err := db.ExecContext(t.Context(), "INSERT INTO trust_documents (version, envelope, created_at) VALUES (?, ?, ?)", version, string(document), time.Now().UTC())
			require.NoError(t, err)
		}
	})
	w.s.launch(t)
	keyFile := filepath.Join(t.TempDir(), "enemy.pem")
	require.NoError(t, trust.SaveKey(keyFile, enemy))
	packageID := w.s.createPackage(t, "--name", "forged", "--version", "1", "--action", "execute", "--no-sign", "--", "touch", p.evil)
	r := w.s.muster(t, "package", "sign", packageID, "--key", keyFile, "--yes")
	require.Zero(t, r.code, "the server believes its own chain: %s", r.stderr)
	w.s.call(t, "POST", "/packages/"+packageID+"/activate", nil, nil)
	id, _ := w.s.assign(t, packageID, p.agent.device)
	require.Zero(t, p.once(t).code)
	d := w.s.deployment(t, id)
	require.Equal(t, "waiting trust_invalid", d.State+" "+d.Reason, d.story())
	w.s.stop(t)
}
