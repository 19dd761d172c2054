package modules

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/schedule"
)

// maxJitter bounds the random delay of a scheduled run, which is at most a tenth of the interval: devices with
// the same schedule are not to report at the same moment.
const maxJitter = time.Minute

// Plan says when modules run next by themselves.
type Plan struct {
	Modules map[string]Turn `json:"modules"`
}

// Turn is when one module runs.
type Turn struct {
	Schedule string    `json:"schedule"` // by which Next was found
	Next     time.Time `json:"next"`
	Last     time.Time `json:"last"` // when it was begun; zero: never
}

// LoadPlan reads the plan. A missing or damaged one is empty: every module is new.
func (r Results) LoadPlan() Plan {
	var p Plan
	data, err := os.ReadFile(filepath.Join(r.dir, planFile))
	if err != nil || json.Unmarshal(data, &p) != nil || p.Modules == nil {
		return Plan{Modules: map[string]Turn{}}
	}
	return p
}

// SavePlan persists the plan. Where there never was one and there is nothing to keep, nothing is made.
func (r Results) SavePlan(p Plan) error {
	path := filepath.Join(r.dir, planFile)
	if _, err := os.Stat(path); len(p.Modules) == 0 && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	data, err := json.Marshal(p)
	if err == nil {
		err = errors.Join(r.Make(), atomicfile.Write(path, append(data, '\n'), 0o600))
	}
	if err != nil {
		return fmt.Errorf("keep when modules run: %w", err)
	}
	return nil
}

// Adjust makes the plan one of these modules: a new one is due now, one with another schedule by that, and a time
// that a clock set back has put too far away is found anew.
func (p *Plan) Adjust(modules []State, now time.Time) {
	turns := map[string]Turn{}
	for _, m := range modules {
		sched, err := schedule.Parse(m.Schedule)
		if m.Schedule == "" || err != nil {
			continue
		}
		t, known := p.Modules[m.Name]
		switch {
		case !known:
			t = Turn{Schedule: m.Schedule, Next: now}
		case t.Schedule != m.Schedule, t.Next.After(sched.Next(now).Add(maxJitter)):
			t = Turn{Schedule: m.Schedule, Next: later(sched, now), Last: t.Last}
		}
		turns[m.Name] = t
	}
	p.Modules = turns
}

// Begin says that a module begins: its next time is found before it runs, so that one that takes the computer
// down is not begun again at every start.
func (p *Plan) Begin(name string, now time.Time) {
	t, known := p.Modules[name]
	sched, err := schedule.Parse(t.Schedule)
	if !known || err != nil {
		delete(p.Modules, name)
		return
	}
	t.Last, t.Next = now.UTC(), later(sched, now)
	p.Modules[name] = t
}

func later(sched schedule.Schedule, now time.Time) time.Time {
	return sched.NextJittered(now, min(maxJitter, sched.Interval(now)/10)).UTC().Truncate(time.Millisecond)
}

// Due is the module whose turn comes first, and when; empty when none has a schedule.
func (p *Plan) Due() (name string, at time.Time) {
	for n, t := range p.Modules {
		if name == "" || t.Next.Before(at) || t.Next.Equal(at) && n < name {
			name, at = n, t.Next
		}
	}
	return name, at
}
