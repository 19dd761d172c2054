package resident

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/muster/muster/agent/internal/backoff"
	"github.com/muster/muster/agent/internal/modules"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// Times of modules from outside.
const (
	moduleLimit = modules.MaxTimeLimit + 2*time.Minute // of a task process that runs one
	moduleRetry = time.Minute                          // after looking at them failed; first bound of the back-off after results were not sent
	settleFor   = time.Second                          // from a change in their folder to looking at them: several files may come
)

// outside is what the resident knows of the modules from outside. Task processes look at them, run them and send
// what they found; here is only when.
type outside struct {
	folder  string
	results modules.Results
	work    chan struct{} // something changed that may make a module due
	running sync.Mutex    // no module runs twice at a time, whoever asks for it

	mu     sync.Mutex
	print  string    // of the folder, when it was looked at last
	lookAt time.Time // when to look at it; zero: when it changes
	found  []modules.State
	plan   modules.Plan
}

// parcel is when one server gets what modules found. It is under the unit's lock.
type parcel struct {
	due     time.Time // zero: there is nothing to send
	again   bool      // all of it
	asks    int       // grows whenever it is made due
	retry   backoff.Backoff
	problem string
}

// notLooked stands for what a folder of modules was like before this start.
const notLooked = "not looked at since the start"

func newOutside(dataDir, folder string) *outside {
	o := &outside{folder: folder, results: modules.ResultsOf(dataDir), work: make(chan struct{}, 1)}
	o.plan = o.results.LoadPlan()
	if names, err := o.results.Names(); err != nil || len(names) > 0 || len(o.plan.Modules) > 0 {
		o.print = notLooked // those that have gone are to be forgotten
	}
	return o
}

// changed makes the folder looked at when it is not as it was.
func (o *outside) changed(at time.Time) bool {
	now := modules.Print(o.folder)
	o.mu.Lock()
	defer o.mu.Unlock()
	if now == o.print && o.lookAt.IsZero() {
		return false
	}
	if o.lookAt.IsZero() || o.lookAt.After(at) {
		o.lookAt = at
	}
	return true
}

// took takes what there is, and reports whether the servers are to hear of it now, because modules came or went. Those
// that an agent finds when it starts anew are told with the next check-in: a restart makes none before its time.
func (o *outside) took(found []modules.State, print string, now time.Time) (tell bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	same := func(a, b modules.State) bool { return a.Name == b.Name }
	tell = o.print != notLooked && !slices.EqualFunc(o.found, found, same)
	o.print, o.lookAt, o.found = print, time.Time{}, found
	o.plan.Adjust(found, now)
	return tell, o.results.SavePlan(o.plan)
}

// any reports whether there are modules.
func (o *outside) any() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.found) > 0
}

// status is how the modules stand.
func (o *outside) status() []ModuleStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]ModuleStatus, len(o.found))
	for i, m := range o.found {
		t := o.plan.Modules[m.Name]
		all[i] = ModuleStatus{State: m, Last: t.Last, Next: t.Next}
	}
	return all
}

// keepModules looks at the folder of modules whenever it changes, until ctx ends. It sleeps until the system says
// that something changed there.
func (r *Resident) keepModules(ctx context.Context) {
	if r.o.Config.ModulesDir == "" { // an administrator makes any other one
		if err := atomicfile.MkdirAll(r.outside.folder, 0o700); err != nil {
			r.log.Warn("make the folder of modules", logging.Err, err)
		}
	}
	w, err := newWatch(watchFiles)
	if err != nil {
		r.log.Debug("changes of modules are looked for every minute", logging.Err, err)
	}
	defer w.close()
	for {
		// The watch comes before the look, so that nothing is missed between the two.
		watched := w.set(modules.Folders(r.outside.folder))
		if r.outside.changed(time.Now().Add(settleFor)) {
			r.nudge()
		}
		var timer <-chan time.Time
		if !watched {
			timer = time.After(lookForServers)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.changes():
		case <-timer:
		}
	}
}

// runModules looks at the modules and runs those that are due, one after another until ctx ends.
func (r *Resident) runModules(ctx context.Context) {
	runTasks(ctx.Done(), r.outside.work, func() (again time.Time, ran bool) { return r.nextModule(ctx, time.Now()) })
}

// nextModule does what is due of the modules, or says when to look again.
func (r *Resident) nextModule(ctx context.Context, now time.Time) (again time.Time, ran bool) {
	what, due := r.dueModules()
	if what == nil || due.After(now) {
		return due, false
	}
	what(ctx)
	return time.Time{}, true
}

// dueModules is what is due first of the modules themselves, and when; nil when nothing is.
func (r *Resident) dueModules() (what func(context.Context), at time.Time) {
	r.outside.mu.Lock()
	defer r.outside.mu.Unlock()
	if r.outside.lookAt.IsZero() {
		if name, next := r.outside.plan.Due(); name != "" {
			what, at = func(ctx context.Context) { r.runModule(ctx, name) }, next
		}
	} else { // before any runs
		what, at = r.lookAtModules, r.outside.lookAt
	}
	return what, at
}

// dueParcel is what is due first of sending what modules found to these servers, and when; nil when nothing is.
func (r *Resident) dueParcel(units []*unit) (what func(context.Context), at time.Time) {
	for _, u := range units {
		u.mu.Lock()
		due := u.parcel.due
		u.mu.Unlock()
		if !due.IsZero() && (what == nil || due.Before(at)) {
			what, at = func(ctx context.Context) { r.sendModules(ctx, u) }, due
		}
	}
	return what, at
}

// lookAtModules has a task process look at all modules.
func (r *Resident) lookAtModules(ctx context.Context) {
	print := modules.Print(r.outside.folder)
	end, err := r.aside(ctx, nil)
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	if err != nil {
		r.log.Error("look at the modules", logging.Err, err)
		r.outside.mu.Lock()
		r.outside.lookAt = now.Add(moduleRetry)
		r.outside.mu.Unlock()
		return
	}
	tell, err := r.outside.took(end.Modules, print, now)
	if err != nil {
		r.log.Warn("keep when modules run", logging.Err, err)
	}
	if tell {
		for _, u := range r.servers() { // the facts name them
			u.session.Wake()
		}
	}
	r.log.Info("modules", "count", len(end.Modules))
	r.outside.changed(time.Now().Add(settleFor)) // meanwhile
	r.statusChanged()
	r.resultsChanged()
}

// runModule runs a module because it is due. Its next time is on the disk before that.
func (r *Resident) runModule(ctx context.Context, name string) {
	r.outside.mu.Lock()
	r.outside.plan.Begin(name, time.Now())
	err := r.outside.results.SavePlan(r.outside.plan)
	r.outside.mu.Unlock()
	if err != nil {
		r.log.Error("a module does not run: its next time cannot be kept", "module", name, logging.Err, err)
		return
	}
	r.statusChanged()
	if _, err := r.aside(ctx, &protocol.ModuleTask{Name: name}); err != nil && ctx.Err() == nil {
		r.log.Error("run a module", "module", name, logging.Err, err)
	}
	r.resultsChanged()
	r.settled()
}

// resultsChanged makes every server that may have them get what modules found.
func (r *Resident) resultsChanged() {
	names, err := r.outside.results.Names()
	if err != nil {
		r.log.Error("look for results of modules", logging.Err, err)
	}
	if len(names) == 0 {
		return
	}
	for _, u := range r.servers() {
		u.sendSoon(time.Now(), false)
	}
	r.nudge()
}

// sendSoon makes it due to send what modules found.
func (u *unit) sendSoon(at time.Time, again bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.owe(at, again)
}

// owe is sendSoon for callers that hold mu. A server that may not have what modules found is owed nothing.
func (u *unit) owe(at time.Time, again bool) {
	if !slices.Contains(u.allowed, protocol.TaskModule) || u.leaving {
		return
	}
	p := &u.parcel
	p.asks++
	p.again = p.again || again
	if p.due.IsZero() || p.due.After(at) {
		p.due = at
	}
}

// answered says that the server has answered: what it could not take before is sent now.
func (u *unit) answered(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if p := &u.parcel; p.problem != "" && p.due.After(now) {
		p.due = now
	}
}

// sendModules sends one server what modules found.
func (r *Resident) sendModules(ctx context.Context, u *unit) {
	release, ok := r.hold(u)
	if !ok {
		return
	}
	defer release()
	u.mu.Lock()
	asks, again := u.parcel.asks, u.parcel.again
	u.mu.Unlock()
	end, err := r.process(ctx, u, item{task: protocol.Task{Kind: protocol.TaskModule}, started: true, again: again})
	if ctx.Err() != nil {
		return // looked for at the next start
	}
	if err == nil && end.State != protocol.StateSucceeded {
		err = errors.New(end.Problem)
	}
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	p := &u.parcel
	switch {
	case err == nil || end.State.Final(): // what the server refuses is not sent again
		p.problem, p.again = "", false
		p.retry.Reset()
		if p.due = (time.Time{}); p.asks != asks {
			p.due = now
		}
		if err != nil {
			u.log.Error("the server did not take what a module found", logging.Err, err)
			p.problem = err.Error()
		}
	default:
		if p.problem == "" {
			u.log.Warn("what modules found was not sent", logging.Err, err)
		}
		p.problem, p.due = err.Error(), now.Add(p.retry.Next())
		if end.NextTry.After(p.due) && end.NextTry.Before(now.Add(longestWait)) { // as the server asks
			p.due = end.NextTry
		}
	}
	r.statusChanged()
	r.settled()
}

// aside runs a module task that is no server's.
//
//fuzz:none FuzzEvent takes apart what a task says
func (r *Resident) aside(ctx context.Context, module *protocol.ModuleTask) (task.End, error) {
	var end task.End
	input, err := json.Marshal(task.Input{
		DataDir: r.o.DataDir, LogLevel: r.logLevel(), Modules: r.outside.folder,
		Task: protocol.Task{Kind: protocol.TaskModule, Module: module},
	})
	if err != nil {
		return end, fmt.Errorf("encode the task's input: %w", err)
	}
	r.outside.running.Lock()
	defer r.outside.running.Unlock()
	what := Task{Kind: protocol.TaskModule}
	if module != nil {
		what.ID = module.Name
	}
	defer r.nowRuns(looking, what)()
	options := proc.TaskOptions{
		Name: protocol.TaskModule, Input: input, Env: proxyEnv(os.Environ()), Limit: moduleLimit,
		Event: func(data json.RawMessage) error {
			var e task.Event
			if err := json.Unmarshal(data, &e); err != nil {
				return fmt.Errorf("read the task's event: %w", err)
			}
			if e.End != nil {
				end = *e.End
			}
			return nil
		},
	}
	if r.o.Lines != nil {
		options.Log = r.o.Lines.Task(protocol.TaskModule, "")
	}
	t, err := proc.StartTask(ctx, options)
	if err != nil {
		return end, fmt.Errorf("start the task: %w", err)
	}
	if err := t.Wait(); err != nil {
		return end, err
	}
	if end.State == "" {
		return end, errors.New("the task ended without a result")
	}
	return end, nil
}
