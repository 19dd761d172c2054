package launch

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
)

// world is a computer on which chance updates, crashes, damages and installs; it keeps book of what really happened.
type world struct {
	t         *testing.T
	dir       string
	rnd       *rand.Rand
	installed string
	running   string // slot of the agent that runs; empty for the installed one
	builds    int
	starts    map[string]int  // task → how often its program was really started
	told      map[string]int  // task → how often it was told to end
	evidence  map[string]bool // task → whether it has really checked in
	version   map[string]string
}

// TestWalk goes through a few thousand random steps. After each, whatever is on the disk, the launcher comes to a
// program that is whole, within one ending; no program on trial is started more often than it may be; and what is told
// of a trial is what happened.
func TestWalk(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := &world{
				t: t, dir: t.TempDir(), rnd: rand.New(rand.NewPCG(seed, 4)), installed: "1.0.0", // chance, no secret
				starts: map[string]int{}, told: map[string]int{}, evidence: map[string]bool{}, version: map[string]string{},
			}
			for range 80 {
				w.step()
			}
		})
	}
}

func (w *world) step() {
	switch w.rnd.IntN(8) {
	case 0, 1, 2:
		w.update()
	case 3:
		w.damage()
	case 4: // a package manager
		w.installed = fmt.Sprintf("1.%d.0", w.rnd.IntN(w.builds+2))
	case 5: // what a crash of atomicfile leaves
		require.NoError(w.t, os.MkdirAll(filepath.Join(w.dir, Folder), 0o700))
		require.NoError(w.t, os.WriteFile(filepath.Join(w.dir, Folder, ".state.json.1.tmp"), []byte(`{"format":1,"cur`), 0o600))
	case 6:
		if w.rnd.IntN(10) == 0 {
			require.NoError(w.t, os.MkdirAll(filepath.Join(w.dir, Folder), 0o700))
			require.NoError(w.t, os.WriteFile(filepath.Join(w.dir, Folder, stateFile), []byte("damaged"), 0o600))
		}
	default:
	}
	w.boot()
}

// update stages a new build and arms it, unless a crash comes in between.
func (w *world) update() {
	w.builds++
	version, task := fmt.Sprintf("1.%d.0", w.builds), fmt.Sprint("task-", w.builds)
	text := []byte("program " + version)
	sum := sha256.Sum256(text)
	require.NoError(w.t, os.MkdirAll(filepath.Join(w.dir, Folder), 0o700))
	require.NoError(w.t, os.WriteFile(Staging(w.dir), text, 0o600))
	t := Trial{
		Slot: Slot{Version: version, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(text))},
		Task: task, Server: "s", From: "0", ProbationMS: 3,
	}
	if release.Compare(w.installed, version) > 0 {
		t.Over = w.installed
	}
	before, _ := Load(w.dir)
	got, err := Stage(w.dir, w.running, t)
	require.NoError(w.t, err)
	require.NotEqual(w.t, w.running, got.Name, "the program that runs is left alone")
	if w.running == "" && before.Current != nil {
		require.NotEqual(w.t, before.Current.Name, got.Name)
	}
	w.version[task] = version
	if w.rnd.IntN(6) > 0 {
		require.NoError(w.t, Arm(w.dir, task))
	}
}

func (w *world) damage() {
	s, _ := Load(w.dir)
	for _, slot := range []*Slot{s.Current, s.Previous} {
		if slot != nil && w.rnd.IntN(3) == 0 {
			require.NoError(w.t, os.WriteFile(slot.Path(w.dir), []byte(strings.Repeat("x", int(slot.Size))), 0o600))
		}
	}
	if s.Trial != nil && w.rnd.IntN(3) == 0 {
		_ = os.Remove(s.Trial.Path(w.dir))
	}
}

// boot is a launcher, with crashes between any two of its writes, until a program is chosen.
func (w *world) boot() {
	for range 40 {
		s, _ := Load(w.dir)
		d := decide(s, facts{installed: w.installed, proved: s.Trial != nil && s.Trial.proved(w.dir), usable: func(s Slot) error { return s.Check(w.dir) }})
		switch {
		case d.end != nil:
			w.truth(*d.end)
			require.NoError(w.t, conclude(w.dir, s, *d.end))
			left, err := Load(w.dir)
			require.NoError(w.t, err)
			require.Nil(w.t, left.Trial, "one ending")
		case d.trial:
			w.try(s)
		default:
			w.running = ""
			if d.slot != nil {
				w.running = d.slot.Name
				require.NoError(w.t, d.slot.Check(w.dir), "a program that runs")
				require.False(w.t, superseded(*d.slot, w.installed))
			}
			return
		}
	}
	require.Fail(w.t, "no program was chosen")
}

func (w *world) try(s State) {
	t := s.Trial
	t.Attempts++
	require.NoError(w.t, save(w.dir, s))
	if w.rnd.IntN(4) == 0 {
		return // the power is cut right before the start
	}
	require.NoError(w.t, t.Check(w.dir), "a program that runs")
	w.starts[t.Task]++
	require.LessOrEqual(w.t, w.starts[t.Task]-w.told[t.Task], MaxAttempts)
	switch w.rnd.IntN(4) {
	case 0:
		require.NoError(w.t, Prove(w.dir, t.Task))
		w.evidence[t.Task] = true
	case 1: // it was told to end, and its launcher lived to note it
		t.Attempts--
		t.UsedMS++
		w.told[t.Task]++
		require.NoError(w.t, save(w.dir, s))
	case 2: // its time is up
		t.UsedMS = t.ProbationMS
		require.NoError(w.t, save(w.dir, s))
	}
}

// truth compares what is told with what happened.
func (w *world) truth(o Outcome) {
	require.Equal(w.t, w.version[o.Task], o.To)
	require.Equal(w.t, w.evidence[o.Task], o.Outcome == protocol.UpdateInstalled, "%+v", o)
	if o.Outcome == protocol.UpdateKept {
		require.Zero(w.t, w.starts[o.Task], "it was never started: %+v", o)
	}
}
