package update

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task/fetch"
	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
)

// wordLimit is how long the new program may take to say who it is.
const wordLimit = time.Minute

// fetching is how the program's archive comes to this device.
func (u *updating) fetching() *fetch.Fetch {
	return fetch.New(fetch.Options{DataDir: u.in.DataDir, Client: u.client, Archive: &u.build.Archive, List: u.doc.ID})
}

// fetch brings the archive and compares it with what is signed.
func (u *updating) fetch(ctx context.Context) error {
	f := u.fetching()
	_, err := f.Begin(u.build.Size)
	if err == nil {
		err = f.Run(ctx)
	}
	if err == nil {
		err = f.Verify(ctx)
	}
	var e *fetch.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.Final:
		return u.kept(protocol.StateRefused, e.Reason, "%v", e)
	default:
		return u.wait(e.Reason, "%v", e)
	}
}

// install unpacks the program, lets it say who it is, stages it and arms the launcher.
func (u *updating) install(ctx context.Context) error {
	lock, holder, err := proc.AwaitLock(ctx, u.in.ChangeLock, "update", changeWait)
	if errors.Is(err, proc.ErrHeld) {
		return u.wait(protocol.ReasonBusy, "another change of this computer is running (%s)", holder)
	}
	if err != nil {
		return fmt.Errorf("take the change lock: %w", err)
	}
	u.change = lock // until this process has ended
	serials, err := u.store.LoadSerials()
	if err != nil {
		return err
	}
	if u.doc.Expired(serials.Now(time.Now())) {
		return u.kept(protocol.StateExpired, protocol.ReasonSignAgain, "the release expired at %s: sign it again", u.doc.ExpiresAt.UTC().Format(time.RFC3339))
	}
	program, err := u.unpack(ctx)
	if err != nil {
		return err
	}
	if err := u.word(ctx, program); err != nil {
		return err
	}
	if _, err := launch.Stage(u.in.DataDir, u.in.Program.Slot, u.trial()); err != nil {
		return fmt.Errorf("stage agent %s: %w", u.doc.Version, err)
	}
	if !u.in.KeepFragments { // of no use any more; after a crash before the next line they are fetched again
		if err := u.fetching().Drop(); err != nil {
			u.log.Warn("remove the fragments of a release", logging.Err, err)
		}
	}
	if err := u.record(&verdict{state: protocol.StateStarted, message: fmt.Sprintf("restarting into agent %s", u.doc.Version)}); err != nil {
		return err
	}
	return u.arm()
}

// trial is what the launcher is to know of the release.
func (u *updating) trial() launch.Trial {
	seconds := u.task.ProbationSeconds
	if seconds == 0 {
		seconds = protocol.DefaultProbation
	}
	t := launch.Trial{
		Slot: launch.Slot{Version: u.doc.Version, SHA256: u.build.SHA256, Size: u.build.Size},
		Task: u.in.Task.ID, Server: u.in.Server, From: u.version(), ProbationMS: int64(seconds) * 1000,
	}
	if i := u.in.Program.Version; release.Compare(i, u.doc.Version) > 0 {
		t.Over = i // check has seen that the release allows it
	}
	return t
}

// arm lets the launcher try what is staged, and the resident restart into it.
func (u *updating) arm() error {
	if err := launch.Arm(u.in.DataDir, u.in.Task.ID); err != nil {
		return err
	}
	u.log.Info("the agent restarts to try another release", "version", u.task.Version)
	next := time.Now().Add(minRetry)
	return &verdict{state: protocol.StateWaiting, next: &next, restart: true, quiet: true}
}

// unpack unpacks the one file that the archive must be.
func (u *updating) unpack(ctx context.Context) (string, error) {
	path := launch.Staging(u.in.DataDir)
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("make the launcher's folder: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("remove an earlier unpacked release: %w", err)
	}
	r, err := u.fetching().Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return "", err
	}
	_, err = archive.UnpackProgram(&interruptible{ctx, io.NewSectionReader(r, 0, r.Size())}, release.ProgramName(runtime.GOOS), file, u.build.Size)
	if err = errors.Join(err, file.Close()); archive.Refused(err) {
		return "", u.kept(protocol.StateRefused, protocol.ReasonArchive, "%v", err)
	}
	if err != nil {
		return "", fmt.Errorf("unpack: %w", err)
	}
	if err := (launch.Slot{SHA256: u.build.SHA256, Size: u.build.Size}).CheckFile(path); err != nil {
		return "", u.kept(protocol.StateRefused, protocol.ReasonDigest, "the program in the archive is not the signed one: %v", err)
	}
	return path, nil
}

// interruptible ends reading with its context.
type interruptible struct {
	ctx context.Context //nolint:containedctx // of one call
	io.Reader
}

// Read reads on, unless the task was told to end.
func (r *interruptible) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// word runs the new program once, to see that it can be started on this computer and is what its release says.
func (u *updating) word(ctx context.Context, program string) error {
	ask := func() ([]byte, int, error) { return proc.Output(ctx, []string{program, "version"}, "", nil, wordLimit) }
	out, code, err := ask()
	if err != nil && !errors.Is(err, proc.ErrTimeLimit) && ctx.Err() == nil {
		out, code, err = ask() // something else may have ended it, as a computer that runs out of memory does
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil || code != 0 {
		why := fmt.Sprintf("it ended with exit code %d", code)
		if err != nil {
			why = err.Error()
		}
		return u.kept(protocol.StateFailed, protocol.ReasonCannotStart, "agent %s does not run on this device: %s", u.doc.Version, why)
	}
	said := strings.Fields(string(out[:min(len(out), 1<<10)]))
	if len(said) < 2 || said[0] != "muster-agent" || said[1] != u.doc.Version {
		return u.kept(protocol.StateRefused, protocol.ReasonMismatch, "the program of agent %s says that it is %.80q", u.doc.Version, strings.Join(said, " "))
	}
	return nil
}

// judged goes on after `started`: the launcher's state says how far it came.
func (u *updating) judged() error {
	s, err := launch.Load(u.in.DataDir)
	if err != nil {
		u.log.Error("the launcher's state is lost", logging.Err, err)
	}
	if s.Last != nil && s.Last.Task == u.in.Task.ID {
		return u.outcome(*s.Last)
	}
	if s.Trial != nil && s.Trial.Task == u.in.Task.ID {
		return u.goOn(s.Trial)
	}
	// The state was lost, or is that of a later update.
	if u.version() == u.task.Version {
		return u.final(protocol.StateSucceeded, protocol.ReasonDone, protocol.UpdateInstalled, "agent %s runs", u.version())
	}
	return u.kept(protocol.StateInterrupted, protocol.ReasonNoStatus, "agent %s runs; how the trial of %s ended was not recorded", u.version(), u.task.Version)
}

// goOn ends or begins a trial that the launcher did not end: this agent was not restarted yet, or the disk was full.
func (u *updating) goOn(t *launch.Trial) error {
	end := launch.Outcome{Task: t.Task, From: t.From, To: t.Version}
	if err := t.Check(u.in.DataDir); err != nil {
		end.Outcome, end.Reason, end.Message = t.Untried(), protocol.ReasonDeviceError, fmt.Sprintf("agent %s could not be tried: %v", t.Version, err)
	} else if u.in.Program.Slot == t.Name {
		end.Outcome, end.Reason, end.Message = protocol.UpdateInstalled, protocol.ReasonDone, fmt.Sprintf("agent %s runs in place of %s", t.Version, t.From)
	} else {
		return u.arm()
	}
	if err := launch.Conclude(u.in.DataDir, end); err != nil {
		return err
	}
	return u.outcome(end)
}

// outcome is what the launcher's judgement means for the task.
func (u *updating) outcome(o launch.Outcome) error {
	state := protocol.StateFailed
	switch {
	case o.Outcome == protocol.UpdateInstalled:
		state = protocol.StateSucceeded
	case o.Reason == protocol.ReasonOlderVersion:
		state = protocol.StateRefused
	}
	return &verdict{
		state: state, reason: o.Reason, message: o.Message,
		result: &protocol.UpdateResult{From: o.From, To: o.To, Outcome: o.Outcome},
	}
}
