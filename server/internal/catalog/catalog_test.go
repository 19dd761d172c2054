package catalog_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	trustdoc "github.com/muster/muster/packages/trust"
	"github.com/muster/muster/server/internal/blob"
	"github.com/muster/muster/server/internal/catalog"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
	"github.com/muster/muster/server/internal/trust"
)

// env is a catalog over real blobs and a real trust document that also knows an author.
type env struct {
	*catalog.Service
	blobs  *blob.Service
	trust  *trust.Service
	author trustdoc.PrivateKey
	keys   string

	mu     sync.Mutex
	now    time.Time
	events []catalog.Event
}

func newEnv(t *testing.T, db *store.DB) *env {
	t.Helper()
	e := &env{now: store.Now(), keys: t.TempDir()}
	log := slog.New(slog.DiscardHandler)
	dir, err := blob.OpenDir(filepath.Join(t.TempDir(), "blobs"))
	require.NoError(t, err)
	e.blobs = blob.New(blob.Options{DB: db, Store: dir, Log: log, Now: e.clock})
	e.trust = trust.New(trust.Options{DB: db, Keys: e.keys, Log: log, Now: e.clock})
	require.NoError(t, e.trust.Start(context.Background()))
	e.author, err = trustdoc.GenerateKey()
	require.NoError(t, err)
	e.publish(t, func(d *trustdoc.Document) { d.Keys = append(d.Keys, e.author.Entry(trustdoc.RoleAuthor)) })
	e.Service = catalog.New(catalog.Options{
		DB: db, Blobs: e.blobs, Trust: e.trust, Log: log, Now: e.clock, Actor: func(context.Context) string { return "ada" },
	})
	e.Subscribe(func(_ context.Context, ev catalog.Event) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.events = append(e.events, ev)
	})
	return e
}

// publish signs the next trust document with the root key.
func (e *env) publish(t *testing.T, change func(d *trustdoc.Document)) {
	t.Helper()
	root, err := trustdoc.LoadKey(filepath.Join(e.keys, "root.pem"))
	require.NoError(t, err)
	d := *e.trust.Current()
	d.Version++
	change(&d)
	envelope, err := d.Sign(root)
	require.NoError(t, err)
	require.NoError(t, e.trust.Publish(context.Background(), envelope))
}

func (e *env) clock() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

func (e *env) pass(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = e.now.Add(d)
}

func (e *env) takeEvents() []catalog.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.events
	e.events = nil
	return list
}

func archiveOf(t *testing.T, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("bin/setup")
	require.NoError(t, err)
	_, err = f.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func (e *env) upload(t *testing.T, data []byte) string {
	t.Helper()
	ctx := context.Background()
	u, err := e.blobs.Create(ctx, "a.zip", int64(len(data)))
	require.NoError(t, err)
	_, err = e.blobs.Append(ctx, u.ID, 0, bytes.NewReader(data))
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	_, err = e.blobs.Finish(ctx, u.ID, hex.EncodeToString(sum[:]))
	require.NoError(t, err)
	return u.ID
}

func spec(name, version string) instruction.Spec {
	return instruction.Spec{Name: name, Version: version, Action: instruction.Launch, Command: []string{"bin/setup", "-q"}}
}

// draft is a launch package with an archive of its own.
func (e *env) draft(t *testing.T, name, version string) catalog.Package {
	t.Helper()
	p, err := e.Create(context.Background(), spec(name, version), e.upload(t, archiveOf(t, name+version)))
	require.NoError(t, err)
	return p
}

func (e *env) active(t *testing.T, name, version string) catalog.Package {
	t.Helper()
	p := e.draft(t, name, version)
	_, err := e.Sign(context.Background(), p.ID, 0)
	require.NoError(t, err)
	p, err = e.Activate(context.Background(), p.ID)
	require.NoError(t, err)
	return p
}

// authored is what the author's tool makes of the same file and settings.
func (e *env) authored(t *testing.T, id string, data []byte, s instruction.Spec, issued time.Time) []byte {
	t.Helper()
	return signedBy(t, e.author, id, data, s, issued)
}

func signedBy(t *testing.T, key trustdoc.PrivateKey, id string, data []byte, s instruction.Spec, issued time.Time) []byte {
	t.Helper()
	a, err := fragment.Cut(bytes.NewReader(data), fragment.SizeFor(int64(len(data))), func(instruction.Fragment, []byte) error { return nil })
	require.NoError(t, err)
	a.Format = "zip"
	s.ID = id
	i, err := instruction.Build(s, &a, issued, time.Hour)
	require.NoError(t, err)
	payload, err := i.Encode()
	require.NoError(t, err)
	envelope, err := trustdoc.SignEnvelope(instruction.PayloadType, payload, key)
	require.NoError(t, err)
	return envelope
}

func isCode(t *testing.T, want fault.Code, err error) {
	t.Helper()
	require.Equal(t, want, fault.CodeOf(err), "%v", err)
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e := newEnv(t, db)
		p := e.draft(t, "hello", "1.0")
		require.Equal(t, catalog.Draft, p.State)
		require.Equal(t, 5, p.Priority())
		require.Equal(t, "ada", p.CreatedBy)
		require.Equal(t, "zip", p.ArchiveFormat)
		require.False(t, p.Signed())
		_, err := e.Activate(ctx, p.ID)
		isCode(t, fault.Conflict, err)
		require.ErrorContains(t, err, "sign it before")

		p, err = e.Sign(ctx, p.ID, 48*time.Hour)
		require.NoError(t, err)
		require.True(t, p.Signed())
		require.Len(t, p.SignedBy, 1)
		require.Equal(t, 48*time.Hour, p.ExpiresAt.Sub(*p.IssuedAt))
		payload, envelope, _, err := e.Instruction(ctx, p.ID)
		require.NoError(t, err)
		own, err := instruction.Decode(payload)
		require.NoError(t, err)
		signed, _, err := e.trust.VerifyInstruction(envelope)
		require.NoError(t, err)
		require.True(t, instruction.Equal(own, signed))
		require.Equal(t, p.ID, signed.ID)
		require.Equal(t, protocol.HashSecret(string(envelope)), p.InstructionDigest)

		p, err = e.Activate(ctx, p.ID)
		require.NoError(t, err)
		require.Equal(t, catalog.Active, p.State)
		again, err := e.Activate(ctx, p.ID)
		require.NoError(t, err, "activating again changes nothing")
		require.Equal(t, p.ActivatedAt, again.ActivatedAt)
		isCode(t, fault.Conflict, e.Delete(ctx, p.ID))

		p, err = e.Retire(ctx, p.ID)
		require.NoError(t, err)
		require.Equal(t, catalog.Retired, p.State)
		_, err = e.Retire(ctx, p.ID)
		require.NoError(t, err)
		_, err = e.Activate(ctx, p.ID)
		isCode(t, fault.Conflict, err)
		_, err = e.Sign(ctx, p.ID, 0)
		isCode(t, fault.Conflict, err)
		payload, kept, _, err := e.Instruction(ctx, p.ID)
		require.NoError(t, err)
		require.Empty(t, payload)
		require.Equal(t, envelope, kept, "what was run stays on record")
		require.Equal(t, []catalog.Event{{p.ID, catalog.EventSigned}, {p.ID, catalog.EventActivated}, {p.ID, catalog.EventRetired}}, e.takeEvents())
	})
}

func TestCreate_refuses(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e := newEnv(t, db)
		bad := spec("", "1")
		bad.Command = []string{"../x"}
		_, err := e.Create(ctx, bad, "")
		isCode(t, fault.Invalid, err)
		for _, field := range []string{"the name is missing", "launch needs an archive", "is not the path of a file inside the archive"} {
			require.ErrorContains(t, err, field)
		}
		_, err = e.Create(ctx, spec("a", "1"), "none")
		isCode(t, fault.Invalid, err)

		u, err := e.blobs.Create(ctx, "a.zip", 10)
		require.NoError(t, err)
		_, err = e.Create(ctx, spec("a", "1"), u.ID)
		isCode(t, fault.Conflict, err)

		e.draft(t, "a", "1")
		_, err = e.Create(ctx, spec("a", "1"), e.upload(t, archiveOf(t, "x")))
		isCode(t, fault.Conflict, err)
		require.ErrorContains(t, err, "a 1 exists already")
		for _, id := range []string{"none", ""} {
			_, err = e.Package(ctx, id)
			isCode(t, fault.NotFound, err)
			isCode(t, fault.NotFound, e.Delete(ctx, id))
			_, err = e.Sign(ctx, id, 0)
			isCode(t, fault.NotFound, err)
		}
	})
}

func TestCreate_nameIsFreeAgain(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e := newEnv(t, db)
		p := e.draft(t, "a", "1")
		require.NoError(t, e.Delete(ctx, p.ID))
		_, err := e.Package(ctx, p.ID)
		isCode(t, fault.NotFound, err)
		p = e.active(t, "a", "1")
		_, err = e.Retire(ctx, p.ID)
		require.NoError(t, err)
		p = e.active(t, "a", "1")
		_, err = e.Retire(ctx, p.ID)
		require.NoError(t, err)
		e.draft(t, "a", "1")
	})
}

// TestPutInstruction_collects: with a threshold of two, the package stays unsigned until two different
// authors have signed the same instruction, in whatever order and way the signatures arrive.
func TestPutInstruction_collects(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e := newEnv(t, db)
		second, err := trustdoc.GenerateKey()
		require.NoError(t, err)
		require.NoError(t, e.trust.AddKey(ctx, second.Entry(trustdoc.RoleAuthor)))
		next, err := e.trust.Current().Next(trustdoc.Change{Thresholds: map[trustdoc.Role]int{trustdoc.RoleAuthor: 2}}, e.clock())
		require.NoError(t, err)
		proposed, err := next.Propose()
		require.NoError(t, err)
		require.NoError(t, e.trust.Cosign(ctx, proposed))

		data, own := archiveOf(t, "a1"), spec("a", "1")
		p := e.draft(t, "a", "1")
		one, two := signedBy(t, e.author, p.ID, data, own, e.clock()), signedBy(t, second, p.ID, data, own, e.clock())
		for range 2 { // the same again counts once
			p, err = e.PutInstruction(ctx, p.ID, one)
			require.NoError(t, err)
			require.False(t, p.Signed())
		}
		_, envelope, partial, err := e.Instruction(ctx, p.ID)
		require.NoError(t, err)
		require.Empty(t, envelope)
		require.Equal(t, one, partial)
		_, err = e.Activate(ctx, p.ID)
		isCode(t, fault.Conflict, err)
		_, err = e.PutInstruction(ctx, p.ID, signedBy(t, e.author, p.ID, archiveOf(t, "other"), own, e.clock()))
		isCode(t, fault.Untrusted, err)

		p, err = e.PutInstruction(ctx, p.ID, two) // alone below the threshold, too; the server puts them together
		require.NoError(t, err)
		require.ElementsMatch(t, []string{e.author.ID(), second.ID()}, p.SignedBy)
		_, envelope, partial, err = e.Instruction(ctx, p.ID)
		require.NoError(t, err)
		require.Empty(t, partial)
		_, by, err := e.trust.VerifyInstruction(envelope)
		require.NoError(t, err)
		require.Len(t, by, 2)
		require.Empty(t, e.Refusal(p))
		require.NoError(t, e.trust.Revoke(ctx, p.ID))
		require.Equal(t, protocol.ReasonRevoked, e.Refusal(p))
	})
}

func TestPutInstruction(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e := newEnv(t, db)
		data := archiveOf(t, "a1")
		p := e.draft(t, "a", "1")
		own := spec("a", "1")

		changed := own
		changed.Command = []string{"bin/setup", "--evil"}
		_, err := e.PutInstruction(ctx, p.ID, e.authored(t, p.ID, data, changed, e.clock()))
		isCode(t, fault.Untrusted, err)
		require.ErrorContains(t, err, "differs from the server's own in command")
		_, err = e.PutInstruction(ctx, p.ID, e.authored(t, p.ID, archiveOf(t, "other"), own, e.clock()))
		isCode(t, fault.Untrusted, err)
		require.ErrorContains(t, err, "in archive")
		_, err = e.PutInstruction(ctx, p.ID, e.authored(t, "01960000-0000-7000-8000-000000000001", data, own, e.clock()))
		isCode(t, fault.Untrusted, err)
		_, err = e.PutInstruction(ctx, p.ID, e.authored(t, p.ID, data, own, e.clock().Add(-2*time.Hour)))
		isCode(t, fault.Invalid, err)
		require.ErrorContains(t, err, "expired")
		stranger, err := trustdoc.GenerateKey()
		require.NoError(t, err)
		_, err = e.PutInstruction(ctx, p.ID, signedBy(t, stranger, p.ID, data, own, e.clock()))
		require.Equal(t, protocol.ReasonSignature, instruction.ReasonOf(err))
		_, err = e.PutInstruction(ctx, p.ID, []byte("x"))
		require.Equal(t, protocol.ReasonMalformed, instruction.ReasonOf(err))
		require.Empty(t, e.takeEvents())

		envelope := e.authored(t, p.ID, data, own, e.clock())
		p, err = e.PutInstruction(ctx, p.ID, envelope)
		require.NoError(t, err)
		require.Equal(t, []string{e.author.ID()}, p.SignedBy)
		_, kept, _, err := e.Instruction(ctx, p.ID)
		require.NoError(t, err)
		require.Equal(t, envelope, kept)
		_, err = e.Activate(ctx, p.ID)
		require.NoError(t, err)
	})
}

func TestSerials_neverGoBack(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e := newEnv(t, db)
		v1 := e.draft(t, "a", "1")
		v1, err := e.Sign(ctx, v1.ID, 0)
		require.NoError(t, err)
		e.pass(time.Minute)
		v2 := e.active(t, "a", "2")
		require.Greater(t, v2.Serial, v1.Serial)

		_, err = e.Activate(ctx, v1.ID)
		isCode(t, fault.Conflict, err)
		require.ErrorContains(t, err, "sign 1 again")
		_, err = e.PutInstruction(ctx, v1.ID, e.authored(t, v1.ID, archiveOf(t, "a1"), spec("a", "1"), e.clock().Add(-30*time.Second)))
		isCode(t, fault.Conflict, err)
		require.ErrorContains(t, err, "never go back")

		e.pass(-time.Hour) // the clock went back
		v1, err = e.Sign(ctx, v1.ID, 0)
		require.NoError(t, err)
		require.GreaterOrEqual(t, v1.Serial, v2.Serial)
		_, err = e.Activate(ctx, v1.ID)
		require.NoError(t, err, "going back to the old version means signing it again")
		e.active(t, "b", "1") // another name has serials of its own
	})
}

func TestActivate_checksTheSignatureOnceMore(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e := newEnv(t, db)
		p := e.draft(t, "a", "1")
		_, err := e.Sign(ctx, p.ID, time.Hour)
		require.NoError(t, err)
		e.pass(time.Hour)
		_, err = e.Activate(ctx, p.ID)
		isCode(t, fault.Conflict, err)
		require.ErrorContains(t, err, "expired")
		_, err = e.Sign(ctx, p.ID, time.Hour)
		require.NoError(t, err)

		q := e.draft(t, "q", "1")
		_, err = e.PutInstruction(ctx, q.ID, e.authored(t, q.ID, archiveOf(t, "q1"), spec("q", "1"), e.clock()))
		require.NoError(t, err)
		e.publish(t, func(d *trustdoc.Document) { d.Keys = d.Keys[:2] }) // the author is dismissed
		_, err = e.Activate(ctx, q.ID)
		isCode(t, fault.Conflict, err)
		require.ErrorContains(t, err, "not trusted any more")
		_, err = e.Activate(ctx, p.ID)
		require.NoError(t, err)
	})
}

func TestBlobs_areKeptAsLongAsNeeded(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e := newEnv(t, db)
		p := e.active(t, "a", "1")
		_, envelope, _, err := e.Instruction(ctx, p.ID)
		require.NoError(t, err)
		i, _, err := e.trust.VerifyInstruction(envelope)
		require.NoError(t, err)
		fragment := i.Archive.Fragments[0].SHA256
		there := func(sum string) bool {
			_, err := e.blobs.Store().Stat(ctx, sum)
			return err == nil
		}
		e.pass(48 * time.Hour)
		require.NoError(t, e.blobs.Collect(ctx))
		require.True(t, there(fragment))
		require.True(t, there(p.InstructionDigest))
		renewed, err := e.Sign(ctx, p.ID, 0)
		require.NoError(t, err)
		e.pass(48 * time.Hour)
		require.NoError(t, e.blobs.Collect(ctx))
		require.False(t, there(p.InstructionDigest), "the replaced instruction is collected")
		require.True(t, there(renewed.InstructionDigest))
		_, err = e.Retire(ctx, p.ID)
		require.NoError(t, err)
		e.pass(48 * time.Hour)
		require.NoError(t, e.blobs.Collect(ctx))
		require.False(t, there(fragment), "retiring frees the archive")
		require.True(t, there(renewed.InstructionDigest))
	})
}

func TestList(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e := newEnv(t, db)
		first, second, third := e.draft(t, "alpha", "1"), e.active(t, "Beta", "2"), e.draft(t, "gamma_x", "1")
		titles := func(q catalog.Query) []string {
			if q.Limit == 0 {
				q.Limit = 10
			}
			list, err := e.List(ctx, q)
			require.NoError(t, err)
			out := []string{}
			for _, p := range list {
				out = append(out, p.Spec.Name)
			}
			return out
		}
		require.Equal(t, []string{"gamma_x", "Beta", "alpha"}, titles(catalog.Query{}))
		require.Equal(t, []string{"gamma_x", "Beta"}, titles(catalog.Query{Limit: 2}))
		require.Equal(t, []string{"alpha"}, titles(catalog.Query{After: second.ID}))
		require.Equal(t, []string{"Beta"}, titles(catalog.Query{State: catalog.Active}))
		require.Equal(t, []string{"Beta"}, titles(catalog.Query{Search: "bETA"}))
		require.Equal(t, []string{"gamma_x"}, titles(catalog.Query{Search: "a_x"}), "wildcards are text")
		require.Empty(t, titles(catalog.Query{Search: "%"}))
		require.NotEqual(t, first.ID, third.ID)
	})
}

// TestCreate_race holds that of many at once exactly one gets the name.
func TestCreate_race(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		upload := e.upload(t, archiveOf(t, "x"))
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for n := range errs {
			wg.Go(func() { _, errs[n] = e.Create(context.Background(), spec("a", "1"), upload) })
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
				continue
			}
			isCode(t, fault.Conflict, err)
		}
		require.Equal(t, 1, made)
	})
}
