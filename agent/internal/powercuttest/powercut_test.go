//go:build linux

// Package powercuttest_test cuts the power after every single operation on the files in which the agent
// keeps its state, lets chance take what was not synced, and opens what is left with the real code: what
// was promised is there, nothing half is believed, and what was torn is cut off and told.
package powercuttest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/facts"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/journal"
	"github.com/muster/muster/agent/internal/spool"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
	"github.com/muster/muster/scripts/chaos/disk"
	"github.com/muster/muster/scripts/chaos/overlay"
	"github.com/muster/muster/scripts/chaos/recordos"
)

// inside says that this is the build in which operations on files are recorded.
const inside = "MUSTER_POWERCUT"

// memory is a file system without a disk, on which a sync costs nothing.
const memory = "/dev/shm"

// chances are how many power cuts there are after each operation, besides the worst and the best one.
const chances = 4

// TestPowerCut builds itself once more, with package os replaced where the agent keeps state; and with a
// journal that is not synced, which must be found.
func TestPowerCut(t *testing.T) {
	if os.Getenv(inside) == "" {
		for _, fault := range overlay.Faults() {
			if fault.Name == overlay.NoSync {
				out, err := build(t, "^TestPowerCut$/^journal$", overlay.Recording(), fault.Agent)
				require.Error(t, err, "the planted fault was not found:\n%s", out)
				require.Contains(t, out, "a record that Append accepted is gone")
			}
		}
		out, err := build(t, "^TestPowerCut$", overlay.Recording())
		require.NoError(t, err, out)
		require.Contains(t, out, "cuts after", "nothing was recorded")
		t.Log(out)
		return
	}
	for name, c := range map[string]func(*testing.T, *recording){
		"journal": journalScenario, "spool": spoolScenario, "attempt": attemptScenario, "identity": identityScenario, "enrollment": enrollmentScenario,
		"launch": launchScenario,
	} {
		t.Run(name, func(t *testing.T) {
			r := &recording{dir: t.TempDir()}
			recordos.Capture(r.add)
			c(t, r)
			recordos.Capture(nil)
			r.cutEverywhere(t)
		})
	}
}

// build runs these tests in a build of their own.
func build(t *testing.T, run string, rules ...[]overlay.Rule) (string, error) {
	t.Helper()
	file, err := overlay.Write("../../..", t.TempDir(), rules...)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-overlay", file, "-run", run, "-v", ".")
	cmd.Env = append(os.Environ(), inside+"=1")
	if made, err := os.MkdirTemp(memory, "muster-powercut-"); err == nil { // the disk here is not what is tested
		t.Cleanup(func() { os.RemoveAll(made) })
		cmd.Env = append(cmd.Env, "TMPDIR="+made, "GOTMPDIR="+os.TempDir())
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// recording is what a scenario did, and what it was promised after which operation.
type recording struct {
	dir string

	mu       sync.Mutex
	ops      []recordos.Op
	promises []promise
}

// promise is what must hold in whatever a power cut leaves after so many operations. Only the newest one
// counts.
type promise struct {
	after int
	holds func(t *testing.T, dir string)
}

func (r *recording) add(op recordos.Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
}

func (r *recording) promise(holds func(t *testing.T, dir string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.promises = append(r.promises, promise{len(r.ops), holds})
}

func (r *recording) cutEverywhere(t *testing.T) {
	t.Helper()
	require.NotEmpty(t, r.ops, "the scenario touched no file")
	d, cuts := disk.New(), 0
	for n := range len(r.ops) + 1 {
		if n > 0 {
			require.NoError(t, d.Do(r.ops[n-1]))
		}
		var newest promise
		for _, p := range r.promises {
			if p.after <= n {
				newest = p
			}
		}
		if newest.holds == nil {
			continue
		}
		chance := map[string]disk.Chance{"worst": disk.Worst(), "best": disk.Best()}
		for seed := range uint64(chances) {
			chance[fmt.Sprintf("seed %d", seed)] = disk.Random(rand.New(rand.NewPCG(uint64(n), seed))) // chance, no secret
		}
		for name, c := range chance {
			dir := filepath.Join(t.TempDir(), "left")
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, d.Cut(c).Onto(r.dir, dir))
			newest.holds(t, dir)
			cuts++
			if t.Failed() {
				require.FailNow(t, "a promise was broken", "after operation %d of %d (%s), chance %s:\n%s", n, len(r.ops), name, name, story(r.ops[:n]))
			}
			require.NoError(t, os.RemoveAll(dir))
		}
	}
	t.Logf("%d cuts after %d operations", cuts, len(r.ops))
}

// story is the last operations before the cut.
func story(ops []recordos.Op) string {
	var b strings.Builder
	for _, op := range ops[max(0, len(ops)-12):] {
		fmt.Fprintf(&b, "  %s %s %s file %x offset %d, %d bytes\n", op.Kind, op.Path, op.To, op.File, op.Offset, len(op.Data))
	}
	return b.String()
}

type line struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

func journalScenario(t *testing.T, r *recording) {
	path := func(dir string) string { return filepath.Join(dir, "journal") }
	want := func(acked, begun int) {
		r.promise(func(t *testing.T, dir string) {
			before, err := os.ReadFile(path(dir))
			if acked == 0 && os.IsNotExist(err) {
				return
			}
			require.NoError(t, err)
			j, lines, err := journal.Open[line](path(dir))
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(lines), acked, "a record that Append accepted is gone")
			require.LessOrEqual(t, len(lines), begun)
			for n, l := range lines {
				require.Equal(t, line{n, text(n)}, l)
			}
			_, end, err := journal.Scan(before, func(int64, []byte) error { return nil })
			require.NoError(t, err)
			require.Equal(t, int(end) < len(before), j.Recovery().Torn, "a torn end is told")
			require.Zero(t, j.Recovery().Damaged)
			require.NoError(t, j.Append(line{len(lines), text(len(lines))}), "and what is left can be written to")
			require.NoError(t, j.Close())
			j, after, err := journal.Open[line](path(dir))
			require.NoError(t, err)
			require.Len(t, after, len(lines)+1)
			require.True(t, j.Recovery().Clean(), "what was torn was cut off")
			require.NoError(t, j.Close())
		})
	}
	want(0, 1)
	// By a process that was killed right after it had made the file.
	require.NoError(t, recordos.WriteFile(path(r.dir), nil, 0o600))
	var j *journal.Journal[line]
	for n := range 6 {
		if n%3 == 0 { // opened anew
			if j != nil {
				require.NoError(t, j.Close())
			}
			var err error
			j, _, err = journal.Open[line](path(r.dir))
			require.NoError(t, err)
		}
		want(n, n+1)
		require.NoError(t, j.Append(line{n, text(n)}))
		want(n+1, n+1)
	}
	require.NoError(t, j.Close())

	// By a process that was killed before it could sync: from when on somebody has read it, it must stay.
	payload, err := json.Marshal(line{6, text(6)})
	require.NoError(t, err)
	file, err := recordos.OpenFile(path(r.dir), recordos.O_WRONLY|recordos.O_APPEND, 0)
	require.NoError(t, err)
	want(6, 7)
	_, err = file.Write(journal.AppendLine(nil, payload))
	require.NoError(t, err)
	require.NoError(t, file.Close())
	j, lines, err := journal.Open[line](path(r.dir))
	require.NoError(t, err)
	require.Len(t, lines, 7)
	want(7, 7)
	require.NoError(t, j.Close())
}

func text(n int) string { return strings.Repeat(fmt.Sprintf("record %d ", n), 1+n*20) }

func spoolScenario(t *testing.T, r *recording) {
	limits := spool.Limits{SegmentBytes: 600}
	path := func(dir string) string { return filepath.Join(dir, "servers", "office", "spool") }
	added, begun, acked := map[string]protocol.Report{}, map[string]protocol.Report{}, map[string]bool{}
	want := func() {
		must, may := map[string]bool{}, map[string]protocol.Report{}
		for id, report := range begun {
			may[id] = report
			if _, ok := added[id]; ok && !acked[id] {
				must[id] = true
			}
		}
		r.promise(func(t *testing.T, dir string) {
			s, err := spool.Open(path(dir), limits)
			require.NoError(t, err)
			held := s.Next(1000, 1<<20)
			seen := map[string]bool{}
			for _, report := range held {
				require.False(t, seen[report.ID], "a report is there twice")
				require.Equal(t, may[report.ID], report, "nothing half is believed")
				seen[report.ID] = true
			}
			for id := range must {
				require.True(t, seen[id], "a report that Add accepted is gone")
			}
			require.Zero(t, s.Loss().Damaged, "nothing is taken for damaged that is only unfinished")
			require.NoError(t, s.Add(t.Context(), report(t)))
			require.NoError(t, s.Close())
		})
	}
	want()
	for _, dir := range []string{"servers", "servers/office", "servers/office/spool"} {
		require.NoError(t, recordos.Mkdir(filepath.Join(r.dir, dir), 0o700))
		require.NoError(t, atomicfile.SyncDir(filepath.Dir(filepath.Join(r.dir, dir))))
	}
	// By a process that was killed right after it had made the file.
	require.NoError(t, recordos.WriteFile(filepath.Join(path(r.dir), "0000000000000001.seg"), nil, 0o600))
	s, err := spool.Open(path(r.dir), limits)
	require.NoError(t, err)
	var ids []string
	for n := range 14 {
		one := report(t)
		begun[one.ID] = one
		want()
		require.NoError(t, s.Add(t.Context(), one))
		added[one.ID] = one
		want()
		ids = append(ids, one.ID)
		if n%3 == 2 { // some go, one stays for long
			for _, id := range ids[1:] {
				acked[id] = true
			}
			want()
			require.NoError(t, s.Ack(ids[1:]...))
			ids = ids[:1]
		}
		if n == 9 {
			require.NoError(t, s.Close())
			s, err = spool.Open(path(r.dir), limits)
			require.NoError(t, err)
		}
	}
	require.NoError(t, s.Close())
}

func report(t *testing.T) protocol.Report {
	t.Helper()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	one, err := attempt.NewReport(time.Now(), protocol.DeploymentReport{DeploymentID: id.String(), AttemptID: id.String(), State: protocol.StateAccepted, Message: "accepted"})
	require.NoError(t, err)
	one.Time = one.Time.Round(0)
	return one
}

func attemptScenario(t *testing.T, r *recording) {
	server := func(dir string) string { return filepath.Join(dir, "servers", "office") }
	id := uuid.NewString()
	task := protocol.Task{ID: id, Kind: protocol.TaskDeploy, Deploy: &protocol.DeployTask{AttemptID: id, Priority: 3}}
	want := func(begun bool, records int) {
		r.promise(func(t *testing.T, dir string) {
			list, err := attempt.List(server(dir))
			require.NoError(t, err)
			if !begun && len(list) == 0 {
				return
			}
			require.Len(t, list, 1, "an attempt that was begun is gone")
			kept, err := list[0].Task()
			if begun {
				require.NoError(t, err)
			}
			if err == nil {
				require.Equal(t, task, kept)
			}
			found, err := list[0].Peek()
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(found), records, "a journalled record is gone")
			if _, over := list[0].Settled(); over {
				require.Len(t, found, 2, "an attempt counts as over whose end is not journalled")
			}
			again, err := attempt.Open(server(dir), id)
			require.NoError(t, err)
			require.NoError(t, again.Begin(task), "and it can be begun again")
		})
	}
	want(false, 0)
	a, err := attempt.Open(server(r.dir), id)
	require.NoError(t, err)
	require.NoError(t, a.Begin(task))
	want(true, 0)
	j, _, err := a.Journal()
	require.NoError(t, err)
	for n, state := range []protocol.State{protocol.StateStarted, protocol.StateSucceeded} {
		record, err := attempt.NewReport(time.Now(), protocol.DeploymentReport{DeploymentID: id, AttemptID: id, State: state})
		require.NoError(t, err)
		require.NoError(t, j.Append(attempt.Record{Report: record, BootID: "boot"}))
		want(true, n+1)
	}
	require.NoError(t, j.Close())
	require.NoError(t, a.Settle())
}

func identityScenario(t *testing.T, r *recording) {
	fake := agenttest.New(t)
	root := fake.Enrollment().Root
	acked, begun := make([]int, 3), make([]int, 3) // of identity, serial, trust
	want := func() {
		least, most := append([]int(nil), acked...), append([]int(nil), begun...)
		r.promise(func(t *testing.T, dir string) {
			store := identity.Open(dir, "office")
			found := make([]int, 3)
			id, err := store.Load()
			if !fault.Is(err, fault.NotFound) {
				require.NoError(t, err)
				_, err := fmt.Sscanf(id.Secret, "secret %d", &found[0])
				require.NoError(t, err)
			}
			serials, err := store.LoadSerials()
			require.NoError(t, err)
			found[1] = int(serials.Packages["editor"]) // small
			doc, err := store.LoadTrust(root)
			if least[2] > 0 || err == nil {
				require.NoError(t, err)
				found[2] = doc.Version
			} else {
				require.ErrorContains(t, err, "no trust document", "half a document is not believed, nor does it stand in the way")
			}
			_ = store.LoadState() // may be lost, must not be in the way
			for n := range found {
				require.GreaterOrEqual(t, found[n], least[n], "what was persisted is gone: %v %v %v", least, found, most)
				require.LessOrEqual(t, found[n], most[n])
			}
		})
	}
	want()
	store := identity.Open(r.dir, "office")
	for n := 1; n <= 3; n++ {
		steps := []func(){
			func() {
				require.NoError(t, store.Save(identity.Identity{URLs: []string{fake.URL()}, Secret: fmt.Sprintf("secret %d", n), RootKeyID: root}))
			},
			func() { require.NoError(t, store.RaiseSerial("editor", uint64(n), time.Now())) }, // small
			func() {
				if n > 1 {
					fake.Publish(t, &trust.Document{Version: n, Keys: []trust.Key{fake.Root(), fake.Key.Entry(trust.RoleAuthor)}})
				}
				_, err := store.AcceptTrust(root, []json.RawMessage{fake.Trust()[n-1]})
				require.NoError(t, err)
			},
		}
		for what, step := range steps {
			begun[what] = n
			want()
			step()
			acked[what] = n
			want()
		}
		require.NoError(t, store.SaveState(identity.State{FactsSHA256: fmt.Sprint(n)}))
	}

	// By a process that was killed right after it had replaced the file.
	path := filepath.Join(store.Dir(), "identity.json")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	next, err := recordos.CreateTemp(store.Dir(), ".identity.json.*.tmp")
	require.NoError(t, err)
	_, err = next.Write([]byte(strings.Replace(string(data), "secret 3", "secret 4", 1)))
	require.NoError(t, err)
	require.NoError(t, next.Sync())
	require.NoError(t, next.Close())
	begun[0] = 4
	want()
	require.NoError(t, recordos.Rename(next.Name(), path))
	id, err := identity.Open(r.dir, "office").Load()
	require.NoError(t, err)
	require.Equal(t, "secret 4", id.Secret)
	acked[0] = 4 // read, so it may be acted upon
	want()
}

// enrollmentScenario: from the moment the server hears of a device on, the device knows under which nonce
// and secret, so that enrolling again makes no second one.
func enrollmentScenario(t *testing.T, r *recording) {
	fake := agenttest.New(t)
	store := identity.Open(r.dir, "office")
	var known identity.Identity
	enrolled := false
	fake.Fail = func(_ http.ResponseWriter, req *http.Request) int {
		if req.URL.Path == protocol.PathEnroll && !enrolled {
			id, err := store.Load()
			if err != nil {
				t.Errorf("the server hears of a device that does not know itself: %v", err)
			}
			known = id
			r.promise(func(t *testing.T, dir string) {
				left, err := identity.Open(dir, "office").Load()
				require.NoError(t, err)
				require.Equal(t, known.Nonce+known.Secret, left.Nonce+left.Secret)
				_, _, err = identity.Enroll(t.Context(), identity.Open(dir, "office"), fake.Enrollment(), facts.Read(nil))
				if !fault.Is(err, fault.Conflict) { // enrolled already
					require.NoError(t, err)
				}
				require.Equal(t, 1, fake.Devices())
			})
		}
		return 0
	}
	id, _, err := identity.Enroll(t.Context(), store, fake.Enrollment(), facts.Read(nil))
	require.NoError(t, err)
	enrolled = true
	r.promise(func(t *testing.T, dir string) {
		left, err := identity.Open(dir, "office").Load()
		require.NoError(t, err)
		id.Format = left.Format // written by Save
		require.Equal(t, id, left)
		_, err = identity.Open(dir, "office").LoadTrust(id.RootKeyID)
		require.NoError(t, err)
	})
}
