package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

// perform changes the computer: it takes the change lock, judges expiry, journals `started` and runs the
// command or places the files.
func (d *deployment) perform(ctx context.Context) error {
	lock, holder, err := proc.AwaitLock(ctx, d.in.ChangeLock, "deploy "+d.task.PackageName, changeWait)
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), unlock(lock))
	}
	if errors.Is(err, proc.ErrHeld) {
		return d.wait(protocol.ReasonBusy, "another change of this computer is running (%s)", holder)
	}
	if err != nil {
		return fmt.Errorf("take the change lock: %w", err)
	}
	d.change = lock // until this process, and the runner, have ended
	serials, err := d.store.LoadSerials()
	if err != nil {
		return err
	}
	if trust.Expired(d.doc, serials.Now(time.Now())) {
		return end(protocol.StateExpired, protocol.ReasonSignAgain, "the instruction expired at %s: sign it again", d.doc.ExpiresAt.UTC().Format(time.RFC3339))
	}
	if d.doc.Action == instruction.Store {
		return d.storeFiles()
	}
	cmd, err := d.command()
	if err != nil {
		return err
	}
	if err := atomicfile.MkdirAll(d.path(runDir), 0o700); err != nil {
		return fmt.Errorf("make the runner's folder: %w", err)
	}
	if err := d.started(); err != nil {
		return err
	}
	return d.start(ctx, cmd)
}

func (d *deployment) started() error {
	if d.has(protocol.StateStarted) {
		return nil
	}
	return d.record(protocol.DeploymentReport{State: protocol.StateStarted, Message: d.describe()}, d.boot)
}

func (d *deployment) describe() string {
	if d.doc.Action == instruction.Store {
		return "placing the files under " + d.doc.StorePath
	}
	return fmt.Sprintf("running %q", d.doc.Command)
}

// command is what the runner gets. For launch the named file of the archive is made executable.
func (d *deployment) command() (proc.Command, error) {
	cmd := proc.Command{
		Argv: append([]string(nil), d.doc.Command...), Dir: d.path(treeDir),
		TimeLimit: time.Duration(d.doc.TimeLimitSeconds) * time.Second,
	}
	for k, v := range d.doc.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	sort.Strings(cmd.Env)
	if d.doc.Action != instruction.Launch {
		return cmd, nil
	}
	root, err := os.OpenRoot(d.path(treeDir))
	if err != nil {
		return cmd, err
	}
	defer root.Close()
	name := filepath.FromSlash(cmd.Argv[0])
	info, err := root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.Mode().IsRegular()) {
		return cmd, end(protocol.StateFailed, protocol.ReasonCannotStart, "the archive holds no file %q", cmd.Argv[0])
	}
	if err != nil {
		return cmd, fmt.Errorf("find %q in the archive: %w", cmd.Argv[0], err)
	}
	if err := root.Chmod(name, info.Mode().Perm()|0o500); err != nil {
		return cmd, fmt.Errorf("make %q executable: %w", cmd.Argv[0], err)
	}
	cmd.Argv[0] = filepath.Join(d.path(treeDir), name)
	return cmd, nil
}

// start begins the command. ErrBegun means that an earlier process began it: then it is awaited.
func (d *deployment) start(ctx context.Context, cmd proc.Command) error {
	run, err := proc.StartRunner(d.path(runDir), cmd, d.change)
	switch {
	case errors.Is(err, proc.ErrBegun):
		return d.await(ctx)
	case err != nil:
		return end(protocol.StateFailed, protocol.ReasonCannotStart, "the command could not be started: %v", err)
	}
	// Our own runner tells at once when it has ended, and has let go of the change lock by then.
	status, err := run.Await(ctx)
	return d.ended(ctx, status, err)
}

// resume goes on with an attempt whose command may have been begun by a process that is gone.
func (d *deployment) resume(ctx context.Context) error {
	doc, err := d.loadDocument()
	if err != nil {
		return end(protocol.StateInterrupted, protocol.ReasonNoStatus, "%v", err)
	}
	d.doc = doc
	if doc.Action == instruction.Store { // may be repeated
		if err := d.unpack(ctx); err != nil {
			return err
		}
		return d.perform(ctx)
	}
	phase, err := d.phase()
	if err != nil {
		return end(protocol.StateInterrupted, protocol.ReasonNoStatus, "what the command left cannot be read: %v", err)
	}
	d.log.Info("going on with a started attempt", "command", phase.String())
	if phase != proc.RunNone {
		return d.await(ctx)
	}
	// `started` was journalled, the command not begun. In the same boot that is certain, for what a
	// process wrote survives it; after a power cut it is not.
	if d.bootChanged() {
		return d.lost(ctx, nil)
	}
	if err := d.unpack(ctx); err != nil {
		return err
	}
	return d.perform(ctx)
}

// recall ends an attempt whose command the server knows to have been begun, but of which this device holds no
// record: its data were restored from an older copy, or removed. The command is not begun a second time.
func (d *deployment) recall(ctx context.Context) error {
	if !d.task.Begun || d.doc.Action == instruction.Store { // placing files may be repeated
		return nil
	}
	phase, err := d.phase()
	if err == nil && phase != proc.RunNone {
		return d.await(ctx)
	}
	return d.undecided(ctx, nil, "the server knows that the command was begun, but this device holds no record of it")
}

// phase is how far the attempt's command has come.
func (d *deployment) phase() (proc.Phase, error) {
	phase, _, err := proc.Inspect(d.path(runDir))
	if errors.Is(err, fs.ErrNotExist) {
		return proc.RunNone, nil
	}
	return phase, err
}

func (d *deployment) bootChanged() bool {
	boot := d.startedBoot()
	return boot != d.boot || d.boot == ""
}

// startedBoot is the id of the boot during which the command was started; empty when it was not.
func (d *deployment) startedBoot() string {
	for _, r := range d.records {
		if r.State() == protocol.StateStarted {
			return r.BootID
		}
	}
	return ""
}

// await waits for the runner and judges how the command ended.
func (d *deployment) await(ctx context.Context) error {
	status, err := proc.Await(ctx, d.path(runDir))
	return d.ended(ctx, status, err)
}

// ended judges what became of the command that was awaited.
func (d *deployment) ended(ctx context.Context, status *proc.Status, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, proc.ErrLost), errors.Is(err, proc.ErrNotBegun):
		return d.lost(ctx, status)
	case err != nil:
		return fmt.Errorf("wait for the command: %w", err)
	}
	return d.judge(ctx, status)
}

// lost ends an attempt whose command was begun and whose end nobody recorded.
func (d *deployment) lost(ctx context.Context, status *proc.Status) error {
	why := "the command was begun, but how it ended was not recorded"
	if d.bootChanged() {
		why = "the computer was restarted while the command ran"
	}
	return d.undecided(ctx, status, why)
}

// undecided ends an attempt of which only the detection rule, if there is one, can tell how it ended.
func (d *deployment) undecided(ctx context.Context, status *proc.Status, why string) error {
	if d.doc.Detect != nil {
		if found, err := d.detected(ctx); err == nil && found {
			e := end(protocol.StateSucceeded, protocol.ReasonAlreadyInstalled, "%s; the detection rule says that the package is installed", why)
			return withOutput(e, status)
		}
	}
	return withOutput(end(protocol.StateInterrupted, protocol.ReasonNoStatus, "%s", why), status)
}
