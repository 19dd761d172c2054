package resident

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
)

// lookForServers is how often the folder of servers is looked at where the system does not tell of changes.
const lookForServers = time.Minute

// keepServers takes up servers that this device is enrolled at while the agent runs, and lets go of those
// whose folder has gone, until ctx ends. It sleeps until the system says that something changed there.
func (r *Resident) keepServers(ctx context.Context) {
	folder := identity.Folder(r.o.DataDir)
	if err := atomicfile.MkdirAll(folder, 0o700); err != nil {
		r.log.Warn("make the folder of the servers", logging.Err, err)
	}
	w, err := newWatch(watchNames)
	if err != nil {
		r.log.Debug("changes of the servers are looked for every minute", logging.Err, err)
	}
	defer w.close()
	for {
		// The watch comes before the look, so that nothing is missed between the two.
		dirs := append(r.unserved(folder), folder) // an enrollment under way ends with a change within
		if len(r.servers()) == 0 {                 // for the file of enrollment strings; the status is hardly written then
			dirs = append(dirs, r.o.DataDir)
		}
		watched := w.set(dirs)
		for _, u := range r.takeUp() {
			r.serve(ctx, u)
			r.nudge()
		}
		nudge(r.strings)
		var timer <-chan time.Time
		if !watched {
			timer = time.After(lookForServers)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.changes():
		case <-r.look:
		case <-timer:
		}
	}
}

// unserved are the folders of servers that the agent does not serve.
func (r *Resident) unserved(folder string) (dirs []string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	served := r.servers()
	for _, e := range entries {
		if e.IsDir() && !slices.ContainsFunc(served, func(u *unit) bool { return u.name == e.Name() }) {
			dirs = append(dirs, filepath.Join(folder, e.Name()))
		}
	}
	return dirs
}

// takeUp compares the servers on the disk with those that are served, lets go of those that have gone and
// returns the new ones.
func (r *Resident) takeUp() (taken []*unit) {
	names, err := identity.List(r.o.DataDir)
	if err != nil {
		r.log.Warn("look for servers", logging.Err, err)
		return nil
	}
	for _, u := range r.servers() {
		if u.stop != nil && !slices.Contains(names, u.name) {
			r.drop(u)
		}
	}
	for _, name := range names {
		r.mu.Lock()
		known := r.leaving[name] || slices.ContainsFunc(r.units, func(u *unit) bool { return u.name == name })
		r.mu.Unlock()
		if known {
			continue
		}
		if id, err := identity.Open(r.o.DataDir, name).Load(); err == nil && !id.Enrolled() {
			continue // it may be under way
		}
		u, err := r.newUnit(name)
		if err != nil {
			if said := r.broken[name]; said != err.Error() {
				r.log.Error("a server is left out", "server", name, logging.Err, err)
				r.broken[name] = err.Error()
			}
			continue
		}
		r.mu.Lock()
		r.units = append(r.units, u)
		slices.SortFunc(r.units, func(a, b *unit) int { return strings.Compare(a.name, b.name) })
		r.mu.Unlock()
		r.log.Info("a server is taken up", "server", name)
		taken = append(taken, u)
		r.statusChanged()
	}
	return taken
}

// serve runs a server's session, and its tasks that change nothing, until ctx ends or the server is dropped.
func (r *Resident) serve(ctx context.Context, u *unit) {
	whole := ctx // a task that runs when its server is dropped ends by itself
	ctx, u.stop = context.WithCancel(ctx)
	u.goOnStarted()
	if !r.onTrial() {
		r.serving.Go(func() { r.runLooks(whole, ctx.Done(), u) })
	}
	if r.onTrial() && r.o.Trial.Server == u.name {
		u.session.Wake() // the next check-in may be due only when the trial is over
	}
	r.serving.Go(func() {
		defer close(u.over)
		u.session.Run(ctx)
	})
}

// drop lets go of a server whose folder has gone. What runs in its name ends by itself.
func (r *Resident) drop(u *unit) {
	r.mu.Lock()
	r.units = slices.DeleteFunc(r.units, func(other *unit) bool { return other == u })
	r.leaving[u.name] = true
	r.mu.Unlock()
	u.log.Info("this device is no longer enrolled there")
	u.stop()
	r.statusChanged()
	r.serving.Go(func() {
		<-u.over
		u.busy.Wait()
		if err := u.close(); err != nil {
			u.log.Debug("close the spool of a server that has gone", logging.Err, err)
		}
		// The session may have written its state after the folder was removed.
		if _, err := u.store.Load(); fault.Is(err, fault.NotFound) {
			if err := os.RemoveAll(u.store.Dir()); err != nil {
				u.log.Warn("remove what is left of a server", logging.Err, err)
			}
		}
		r.mu.Lock()
		delete(r.leaving, u.name)
		r.mu.Unlock()
		nudge(r.look)
	})
}

// hold keeps a server's spool open while a task runs in its name; false when the server was dropped.
func (r *Resident) hold(u *unit) (release func(), ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.units, u) {
		return nil, false
	}
	u.busy.Add(1)
	return u.busy.Done, true
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
