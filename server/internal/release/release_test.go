package release_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	doc "github.com/muster/muster/packages/release"
	trustdoc "github.com/muster/muster/packages/trust"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/blob"
	"github.com/muster/muster/server/internal/release"
	"github.com/muster/muster/server/internal/servertest"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
	"github.com/muster/muster/server/internal/task"
	"github.com/muster/muster/server/internal/trust"
)

// tasks remember what they were asked for.
type tasks struct {
	asked  []task.UpdateRequest
	ended  []string
	during func() // while tasks are made
}

func (s *tasks) Update(_ context.Context, req task.UpdateRequest) (task.Updates, error) {
	s.asked = append(s.asked, req)
	if s.during != nil {
		s.during()
	}
	return task.Updates{BatchID: "b", Made: len(req.DeviceIDs)}, nil
}

func (s *tasks) EndUpdates(_ context.Context, releaseID, by string) error {
	s.ended = append(s.ended, releaseID+" by "+by)
	return nil
}

func (s *tasks) List(context.Context, task.Filter) ([]task.Task, error) { return nil, nil }

// groups has one group.
type groups struct{}

func (groups) Members(_ context.Context, id string) ([]string, error) {
	if id != "lab" {
		return nil, fault.New(fault.NotFound, "there is no group %q", id)
	}
	return []string{"d1", "d2"}, nil
}

// env is the feature over real blobs and a real trust document that knows a release key and an author.
type env struct {
	*release.Service
	db            *store.DB
	blobs         *blob.Service
	trust         *trust.Service
	tasks         *tasks
	signer, other trustdoc.PrivateKey
	keys          string

	mu  sync.Mutex
	now time.Time
}

func each(t *testing.T, fn func(t *testing.T, e *env)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { fn(t, newEnv(t, db)) })
}

func newEnv(t *testing.T, db *store.DB) *env {
	t.Helper()
	e := &env{db: db, now: store.Now(), keys: t.TempDir(), tasks: &tasks{}}
	log := slog.New(slog.DiscardHandler)
	dir, err := blob.OpenDir(filepath.Join(t.TempDir(), "blobs"))
	require.NoError(t, err)
	e.blobs = blob.New(blob.Options{DB: db, Store: dir, Log: log, Now: e.clock})
	e.trust = trust.New(trust.Options{DB: db, Keys: e.keys, Log: log, Now: e.clock})
	require.NoError(t, e.trust.Start(t.Context()))
	e.signer, err = trustdoc.GenerateKey()
	require.NoError(t, err)
	e.other, err = trustdoc.GenerateKey()
	require.NoError(t, err)
	require.NoError(t, e.trust.AddKey(t.Context(), e.signer.Entry(trustdoc.RoleRelease)))
	require.NoError(t, e.trust.AddKey(t.Context(), e.other.Entry(trustdoc.RoleAuthor)))
	e.Service = release.New(release.Options{
		DB: db, Blobs: e.blobs, Trust: e.trust, Tasks: e.tasks, Log: log, Now: e.clock, Actor: func(context.Context) string { return "ada" },
	})
	return e
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

func (e *env) upload(t *testing.T, data []byte) string {
	t.Helper()
	u, err := e.blobs.Create(t.Context(), "agent.tar.gz", int64(len(data)))
	require.NoError(t, err)
	_, err = e.blobs.Append(t.Context(), u.ID, 0, bytes.NewReader(data))
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	_, err = e.blobs.Finish(t.Context(), u.ID, hex.EncodeToString(sum[:]))
	require.NoError(t, err)
	return u.ID
}

// register makes a release of two builds.
func (e *env) register(t *testing.T, version string) release.Release {
	t.Helper()
	one, first := servertest.Build(t, "linux", "amd64", []byte("the program of "+version))
	two, second := servertest.Build(t, "windows", "amd64", []byte("another program of "+version))
	signed := servertest.SignRelease(t, servertest.NewRelease(t, version, one, two), e.signer)
	r, err := e.Register(t.Context(), signed, []string{e.upload(t, first), e.upload(t, second)})
	require.NoError(t, err)
	return r
}

func (e *env) refs(t *testing.T, id string) int {
	t.Helper()
	frags, err := blob.Fragments(e.db.With(t.Context()), id)
	require.NoError(t, err)
	return len(frags)
}

func TestRegister_keepsAndRetires(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		r := e.register(t, "1.1.0")
		require.Equal(t, release.Active, r.State)
		require.Equal(t, []string{e.signer.ID()}, r.SignedBy)
		require.Equal(t, "ada", r.CreatedBy)
		envelope, err := e.Signed(t.Context(), r.Envelope)
		require.NoError(t, err)
		back, _, err := e.trust.VerifyRelease(envelope)
		require.NoError(t, err)
		require.Equal(t, r.Document.ID, back.ID)
		require.Equal(t, 2, e.refs(t, r.Document.ID), "the fragments of both builds")
		for _, b := range back.Builds {
			shared, err := e.FragmentShared(t.Context(), b.Archive.Fragments[0].SHA256)
			require.NoError(t, err)
			require.True(t, shared, "neighbours may serve it")
		}
		other := e.register(t, "1.2.0")
		list, err := e.List(t.Context(), release.Query{Limit: 1})
		require.NoError(t, err)
		require.Equal(t, other.Document.ID, list[0].Document.ID, "the newest first")
		list, err = e.List(t.Context(), release.Query{Limit: 5, After: other.Document.ID, Search: "1.1", State: release.Active})
		require.NoError(t, err)
		require.Len(t, list, 1)

		gone, err := e.Retire(t.Context(), r.Document.ID)
		require.NoError(t, err)
		require.Equal(t, release.Retired, gone.State)
		require.NotNil(t, gone.RetiredAt)
		require.Equal(t, []string{r.Document.ID + " by ada"}, e.tasks.ended)
		_, err = e.Retire(t.Context(), r.Document.ID)
		require.NoError(t, err, "again changes nothing")
		_, err = e.Signed(t.Context(), r.Envelope)
		require.True(t, fault.Is(err, fault.NotFound), "nobody is to become it any more")
		shared, err := e.FragmentShared(t.Context(), back.Builds[0].Archive.Fragments[0].SHA256)
		require.NoError(t, err)
		require.False(t, shared)
		require.Zero(t, e.refs(t, r.Document.ID))
		e.register(t, "1.1.0") // the version is free again
	})
}

func TestRegister_refusesWhatIsNotTheServersOwnCut(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		build, packed := servertest.Build(t, "linux", "amd64", []byte("program"))
		up := e.upload(t, packed)
		foreign, strange := servertest.Build(t, "linux", "amd64", []byte("another"))
		windows, exe := servertest.Build(t, "windows", "amd64", []byte("program"))
		wrongName := windows
		wrongName.OS = "linux"
		sign := func(builds ...doc.Build) []byte {
			return servertest.SignRelease(t, servertest.NewRelease(t, "1.1.0", builds...), e.signer)
		}
		with := func(change func(b *doc.Build)) doc.Build {
			b := build
			b.Archive.Fragments = append([]instruction.Fragment{}, b.Archive.Fragments...)
			change(&b)
			return b
		}
		open, err := e.blobs.Create(t.Context(), "agent.tar.gz", 10)
		require.NoError(t, err)
		taken := servertest.NewRelease(t, "1.1.0", build)
		taken.ID = up // refers to fragments already
		old := servertest.NewRelease(t, "1.1.0", build)
		old.Stamp(e.clock().Add(-48*time.Hour), 24*time.Hour)
		e.register(t, "2.0.0")
		for name, c := range map[string]struct {
			envelope []byte
			uploads  []string
			code     fault.Code
			says     string
		}{
			"an author's key":        {servertest.SignRelease(t, servertest.NewRelease(t, "1.1.0", build), e.other), []string{up}, fault.Untrusted, "releases are signed by release keys"},
			"no envelope":            {[]byte("{}"), []string{up}, fault.Untrusted, "envelope"},
			"expired":                {servertest.SignRelease(t, old, e.signer), []string{up}, fault.Invalid, "expired"},
			"too few uploads":        {sign(build, windows), []string{up}, fault.Invalid, "2 builds"},
			"too many uploads":       {sign(build), []string{up, up}, fault.Invalid, "1 builds"},
			"no such upload":         {sign(build), []string{"gone"}, fault.Invalid, "there is no upload"},
			"upload not finished":    {sign(build), []string{open.ID}, fault.Conflict, "not finished"},
			"another archive":        {sign(foreign), []string{up}, fault.Untrusted, "upload for linux/amd64"},
			"another one uploaded":   {sign(build), []string{e.upload(t, strange)}, fault.Untrusted, "upload for linux/amd64"},
			"other fragments":        {sign(with(func(b *doc.Build) { b.Archive.Fragments[0].SHA256 = strings.Repeat("0", 64) })), []string{up}, fault.Untrusted, "own cut"},
			"another program":        {sign(with(func(b *doc.Build) { b.SHA256 = strings.Repeat("0", 64) })), []string{up}, fault.Untrusted, "digest"},
			"a longer program":       {sign(with(func(b *doc.Build) { b.Size = 100 })), []string{up}, fault.Untrusted, "100"},
			"a shorter program":      {sign(with(func(b *doc.Build) { b.Size = 3 })), []string{up}, fault.Untrusted, "not one program of 3 bytes"},
			"name of another system": {sign(wrongName), []string{e.upload(t, exe)}, fault.Untrusted, "muster-agent"},
			"an id in use":           {servertest.SignRelease(t, taken, e.signer), []string{up}, fault.Conflict, "in use"},
			"a version in use":       {servertest.SignRelease(t, servertest.NewRelease(t, "2.0.0", build), e.signer), []string{up}, fault.Conflict, "2.0.0 exists"},
		} {
			_, err := e.Register(t.Context(), c.envelope, c.uploads)
			require.Equal(t, c.code, fault.CodeOf(err), "%s: %v", name, err)
			require.ErrorContains(t, err, c.says, name)
		}
		list, err := e.List(t.Context(), release.Query{Limit: 10})
		require.NoError(t, err)
		require.Len(t, list, 1, "what was refused is not kept")
		_, err = e.Register(t.Context(), sign(build), []string{up})
		require.NoError(t, err, "the upload stays and may be used again")
	})
}

func TestUpdate_onlyToWhatDevicesWouldTake(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		r := e.register(t, "1.1.0")
		id := r.Document.ID
		ask := release.UpdateRequest{ReleaseID: id, DeviceIDs: []string{"d"}, ProbationSeconds: 30, By: "ada"}
		_, err := e.Update(t.Context(), ask)
		require.NoError(t, err)
		require.Equal(t, task.UpdateRequest{DeviceIDs: []string{"d"}, Release: r.Document, Envelope: r.Envelope, ProbationSeconds: 30, By: "ada"}, e.tasks.asked[0])

		toGroup := release.UpdateRequest{ReleaseID: id, GroupID: "lab", By: "ada"}
		_, err = e.Update(t.Context(), toGroup)
		require.ErrorContains(t, err, "no groups")
		e.GroupsFrom(groups{})
		_, err = e.Update(t.Context(), toGroup)
		require.NoError(t, err)
		require.Equal(t, []string{"d1", "d2"}, e.tasks.asked[1].DeviceIDs)
		require.True(t, e.tasks.asked[1].Fitting)
		require.False(t, e.tasks.asked[1].Once)
		require.NoError(t, e.EnsureUpdate(t.Context(), id, []string{"d3"}))
		require.True(t, e.tasks.asked[2].Once)
		require.NoError(t, e.EnsureUpdate(t.Context(), "whatever", nil), "nobody joined")
		for name, wrong := range map[string]release.UpdateRequest{
			"nobody": {ReleaseID: id}, "both": {ReleaseID: id, DeviceIDs: []string{"d"}, GroupID: "lab"}, "no release": {ReleaseID: "x", DeviceIDs: []string{"d"}},
		} {
			_, err := e.Update(t.Context(), wrong)
			require.True(t, fault.Is(err, fault.Invalid), "%s: %v", name, err)
		}
		_, err = e.Update(t.Context(), release.UpdateRequest{ReleaseID: id, GroupID: "gone"})
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)

		version, err := e.Usable(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, "1.1.0", version)
		refused := func(id, says string) {
			t.Helper()
			_, err := e.Update(t.Context(), release.UpdateRequest{ReleaseID: id, DeviceIDs: []string{"d"}})
			require.True(t, fault.Is(err, fault.Conflict), "%v", err)
			require.ErrorContains(t, err, says)
			err = e.EnsureUpdate(t.Context(), id, []string{"d"})
			require.ErrorContains(t, err, says)
			_, err = e.Usable(t.Context(), id)
			require.True(t, fault.Is(err, fault.Conflict), "no group can have it: %v", err)
		}
		require.NoError(t, e.trust.Revoke(t.Context(), id))
		refused(id, "revoked")
		second, third := e.register(t, "1.2.0"), e.register(t, "1.3.0")
		_, err = e.Retire(t.Context(), second.Document.ID)
		require.NoError(t, err)
		refused(second.Document.ID, "retired")
		e.tasks.ended = nil
		e.Run(t.Context())
		require.Equal(t, []string{second.Document.ID + " by the server"}, e.tasks.ended, "what a crash left undone")
		fourth := e.register(t, "1.4.0")
		e.tasks.during = func() {
			_, err := e.Retire(t.Context(), fourth.Document.ID)
			require.NoError(t, err)
		}
		_, err = e.Update(t.Context(), release.UpdateRequest{ReleaseID: fourth.Document.ID, DeviceIDs: []string{"d"}, By: "bob"})
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		require.Contains(t, e.tasks.ended, fourth.Document.ID+" by bob", "the tasks that were just made end")
		e.tasks.during = nil
		e.pass(doc.DefaultExpiry + time.Hour)
		refused(third.Document.ID, "expired")
		require.NoError(t, e.trust.RemoveKey(t.Context(), e.signer.ID()))
		now, err := e.Release(t.Context(), third.Document.ID)
		require.NoError(t, err)
		require.Equal(t, protocol.ReasonSignature, now.Refusal, "its key is trusted no more")
	})
}

// TestRelease_reachesTheDevice goes the way of a real update as far as a server goes: from the author's upload
// to what a device fetches, and back.
func TestRelease_reachesTheDevice(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, s *servertest.Server) {
		admin := s.Session(t)
		key, err := trustdoc.GenerateKey()
		require.NoError(t, err)
		id := s.Release(t, admin, key, "1.1.0")
		pc := s.Enroll(t, admin, "pc-1")
		var made struct {
			Tasks []task.Task `json:"tasks"`
		}
		admin.Do(t, http.MethodPost, api.Path+"/updates", map[string]any{"release_id": id, "device_ids": []string{pc.ID}, "probation_seconds": 30}).
			JSON(t, http.StatusCreated, &made)

		var answer protocol.CheckInResponse
		pc.Do(t, http.MethodPost, protocol.PathCheckIn, protocol.CheckInRequest{Protocol: protocol.Version, AgentVersion: "1.0.0"}).JSON(t, 200, &answer)
		require.Len(t, answer.Tasks, 1)
		update := answer.Tasks[0].Update
		require.Equal(t, id, update.ReleaseID)
		require.Equal(t, 30, update.ProbationSeconds)

		path := protocol.PathRelease + "/" + update.Release
		s.Anonymous(t).Do(t, http.MethodGet, path, nil).Problem(t, 401)
		pending := s.EnrollWith(t, admin, "pc-2", map[string]any{"needs_approval": true})
		pending.Do(t, http.MethodGet, path, nil).Problem(t, 403)
		res := pc.Do(t, http.MethodGet, path, nil)
		require.Equal(t, 200, res.Status)
		sum := sha256.Sum256(res.Body)
		require.Equal(t, update.Release, hex.EncodeToString(sum[:]))
		trusted := &trustdoc.Document{Keys: []trustdoc.Key{key.Entry(trustdoc.RoleRelease)}}
		r, _, err := trusted.VerifyRelease(res.Body)
		require.NoError(t, err)
		var whole []byte
		for _, f := range r.Builds[0].Archive.Fragments {
			got := s.Anonymous(t).Do(t, http.MethodGet, protocol.PathFragment+"/"+f.SHA256, nil)
			require.Equal(t, 200, got.Status, "fragments of releases are shared")
			whole = append(whole, got.Body...)
		}
		digest := sha256.Sum256(whole)
		require.Equal(t, r.Builds[0].Archive.SHA256, hex.EncodeToString(digest[:]))

		report := protocol.Report{ID: made.Tasks[0].ID, Kind: protocol.ReportTask, Time: time.Now(), Task: &protocol.TaskReport{
			TaskID: made.Tasks[0].ID, Kind: protocol.TaskUpdate, State: protocol.StateFailed, Reason: protocol.ReasonCrashed,
			Update: &protocol.UpdateResult{From: "1.0.0", To: "1.1.0", Outcome: protocol.UpdateRolledBack},
		}}
		var ack protocol.Ack
		pc.Do(t, http.MethodPost, protocol.PathReports, protocol.ReportsRequest{Reports: []protocol.Report{report}}).JSON(t, 200, &ack)
		require.Empty(t, ack.Refused)
		var shown task.Task
		admin.Do(t, http.MethodGet, api.Path+"/tasks/"+made.Tasks[0].ID, nil).JSON(t, 200, &shown)
		require.Equal(t, protocol.UpdateRolledBack, shown.Update.Result.Outcome)
		events := admin.Do(t, http.MethodGet, api.Path+"/device-events?kind=agent_update_failed&device_id="+pc.ID, nil)
		require.Contains(t, string(events.Body), "rolled back to 1.0.0")

		admin.Do(t, http.MethodPost, api.Path+"/releases/"+id+"/retire", nil).JSON(t, 200, nil)
		pc.Do(t, http.MethodGet, path, nil).Problem(t, 404)
		audit := string(admin.Do(t, http.MethodGet, api.Path+"/audit", nil).Body)
		for _, operation := range []string{"create-release", "create-update", "retire-release"} {
			require.Contains(t, audit, operation)
		}
		require.Contains(t, audit, "1.1.0")
	})
}
