// Package deploy is the task that carries out one attempt of a deployment: accept, verify, check, fetch,
// unpack, run or place, detect, report. Each step has a file of its own; this file drives them.
//
// Every state is journalled, with the report and its id, before it is told. After a crash anywhere the
// task is started again with the same input: it tells all journalled reports again and goes on behind
// the last one. Every step may be repeated, except the command, which belongs to a runner and is begun
// at most once per attempt. Only task processes call this package: it links the archive formats.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/agent/internal/facts"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/journal"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// Times.
const (
	changeWait = 2 * time.Second // for the runner of the attempt before, which has written its status, to end
	minRetry   = time.Minute     // first wait of a waiting attempt
	maxRetry   = 15 * time.Minute
	sayAgain   = time.Hour // after which an unchanged reason to wait is reported again
)

// Deployer makes the task. Its zero value is the real one.
type Deployer struct {
	// Stall replaces the stall limit, when it is not 0.
	Stall time.Duration
	// Again replaces the bound of the first wait after a failed try of a fragment, when it is not 0.
	Again time.Duration
	// Recorded is called after each record is on the disk and before it is told.
	Recorded func(attempt.Record)
}

// deployment is one attempt while its process lives.
type deployment struct {
	*Deployer
	in      task.Input
	task    protocol.DeployTask
	emit    task.Emit
	log     *slog.Logger
	store   *identity.Store
	client  *client.Client
	attempt *attempt.Attempt
	journal *journal.Journal[attempt.Record]
	records []attempt.Record
	hold    *task.Hold // what the three are of
	change  *proc.Lock // of the computer

	doc     *instruction.Instruction
	entries []archive.Entry
	boot    string
}

// ending ends the attempt, or this process's part of it when the state is waiting.
type ending struct {
	report protocol.DeploymentReport
	next   time.Time
}

// Error tells the ending like a log line.
func (e *ending) Error() string {
	return fmt.Sprintf("%s (%s): %s", e.report.State, e.report.Reason, e.report.Message)
}

func end(state protocol.State, reason protocol.Reason, format string, args ...any) *ending {
	return &ending{report: protocol.DeploymentReport{State: state, Reason: reason, Message: fmt.Sprintf(format, args...)}}
}

// Run carries out the task.
func (p *Deployer) Run(ctx context.Context, in task.Input, emit task.Emit, log *slog.Logger) error {
	if in.Task.Deploy == nil {
		return fault.New(fault.Invalid, "the task has no deployment")
	}
	d := &deployment{
		Deployer: p, in: in, task: *in.Task.Deploy, emit: task.Marked(emit), boot: facts.BootID(),
		log: log.With(logging.Attempt, in.Task.Deploy.AttemptID, logging.Package, in.Task.Deploy.PackageName),
	}
	defer d.close()
	if err := d.open(ctx); err != nil {
		return err
	}
	return d.drive(ctx)
}

// open takes the attempt's lock, opens its journal and tells what was journalled before.
func (d *deployment) open(ctx context.Context) error {
	d.store = identity.Open(d.in.DataDir, d.in.Server)
	id, err := d.store.Load()
	if err != nil {
		return err
	}
	if d.client, err = client.New(client.Options{
		URLs: id.URLs, CAPEM: id.CAPEM, DeviceID: id.DeviceID, Secret: id.Secret, NextSecret: id.NextSecret, KeepAlive: true,
	}); err != nil {
		return err
	}
	if d.hold, err = task.Take(ctx, d.store.Dir(), d.in.Task, d.emit, d.log); err != nil {
		return err
	}
	d.attempt, d.journal, d.records = d.hold.Attempt, d.hold.Journal, d.hold.Records
	return nil
}

func (d *deployment) close() {
	var errs []error
	if d.client != nil {
		d.client.Close()
	}
	errs = append(errs, unlock(d.change))
	if d.hold != nil {
		errs = append(errs, d.hold.Close())
	}
	if err := errors.Join(errs...); err != nil {
		d.log.Warn("close the attempt", logging.Err, err)
	}
}

func unlock(lock *proc.Lock) error {
	if lock == nil {
		return nil
	}
	return lock.Unlock()
}

// drive runs the steps until one of them ends the attempt, and reports the ending.
func (d *deployment) drive(ctx context.Context) error {
	if state := attempt.Furthest(d.records); state.Final() {
		d.cleanUp(state)
		return d.tell(state, time.Time{})
	}
	err := d.steps(ctx)
	if err == nil {
		return errors.New("the steps ended without a result") // run and place always return an ending
	}
	if ctx.Err() != nil {
		return ctx.Err() // told to stop: goes on at the next start
	}
	if errors.Is(err, task.ErrUntold) {
		return err
	}
	var e *ending
	if !errors.As(err, &e) {
		e = d.asEnding(err)
	}
	return d.finish(e)
}

func (d *deployment) steps(ctx context.Context) error {
	if d.has(protocol.StateStarted) {
		return d.resume(ctx)
	}
	steps := []func(context.Context) error{
		d.accept, d.verify, d.recall, d.check, d.detectBefore, d.fetch, d.verifyArchive, d.unpack, d.perform,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *deployment) accept(context.Context) error {
	return d.reach(protocol.StateAccepted, "attempt %d of %s %s accepted", d.task.Attempt, d.task.PackageName, d.task.Version)
}

// asEnding is what an error means for the attempt.
func (d *deployment) asEnding(err error) *ending {
	switch {
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return d.wait(protocol.ReasonDiskSpace, "the disk is full: %v", err)
	case instruction.ReasonOf(err) != "":
		return end(protocol.StateRefused, instruction.ReasonOf(err), "%v", err)
	default:
		return end(protocol.StateFailed, protocol.ReasonDeviceError, "%v", err)
	}
}

// wait is an ending that pauses the attempt, longer each time in a row.
func (d *deployment) wait(reason protocol.Reason, format string, args ...any) *ending {
	pause := minRetry
	for n := len(d.records) - 1; n >= 0 && d.records[n].State() == protocol.StateWaiting && pause < maxRetry; n-- {
		pause *= 2
	}
	e := end(protocol.StateWaiting, reason, format, args...)
	e.next = time.Now().Add(min(pause, maxRetry)).UTC().Truncate(time.Second)
	e.report.NextTry = &e.next
	return e
}

// finish journals and tells the ending. An unchanged reason to wait is not journalled again for a while.
func (d *deployment) finish(e *ending) error {
	if e.report.State == protocol.StateWaiting && len(d.records) > 0 {
		last := d.records[len(d.records)-1].Report
		if last.Deployment.State == e.report.State && last.Deployment.Reason == e.report.Reason && time.Since(last.Time) < sayAgain {
			return d.tell(e.report.State, e.next)
		}
	}
	if err := d.record(e.report, ""); err != nil {
		return err
	}
	d.log.Info("attempt ends", "state", e.report.State, "reason", e.report.Reason, "message", e.report.Message)
	if e.report.State.Final() {
		d.cleanUp(e.report.State)
	}
	return d.tell(e.report.State, e.next)
}

func (d *deployment) tell(state protocol.State, next time.Time) error {
	if err := d.emit(task.Event{End: &task.End{State: state, NextTry: next}}); err != nil {
		return fmt.Errorf("tell the end: %w", err)
	}
	return nil
}

// has reports whether the state was journalled.
func (d *deployment) has(state protocol.State) bool {
	for _, r := range d.records {
		if r.State() == state {
			return true
		}
	}
	return false
}

// reach journals and tells a state, once.
func (d *deployment) reach(state protocol.State, format string, args ...any) error {
	if d.has(state) {
		return nil
	}
	return d.record(protocol.DeploymentReport{State: state, Message: fmt.Sprintf(format, args...)}, "")
}

// record journals a report and then tells it.
func (d *deployment) record(r protocol.DeploymentReport, boot string) error {
	r.DeploymentID, r.AttemptID = d.task.DeploymentID, d.task.AttemptID
	r.Message = cut(r.Message, protocol.MaxMessage)
	report, err := attempt.NewReport(time.Now(), r)
	if err != nil {
		return err
	}
	record := attempt.Record{Report: report, BootID: boot}
	if err := d.journal.Append(record); err != nil {
		return fmt.Errorf("journal %s: %w", r.State, err)
	}
	d.records = append(d.records, record)
	if d.Recorded != nil {
		d.Recorded(record)
	}
	if err := d.emit(task.Event{Report: &report}); err != nil {
		return fmt.Errorf("tell %s: %w", r.State, err)
	}
	return nil
}

// Names inside the attempt's folder.
const (
	envelopeFile = "envelope.json"    // as fetched
	documentFile = "instruction.json" // verified
	treeDir      = "tree"             // unpacked archive, or the command's empty directory
	runDir       = "run"              // the runner's
)

func (d *deployment) path(name string) string { return filepath.Join(d.attempt.Dir(), name) }

// cleanUp removes what only the running attempt needed. The journal stays as a tombstone. Fragments stay
// after a failure, so that another attempt does not fetch them again, and after a success where others may
// have them; the resident ages them out. Of what was refused nothing stays.
func (d *deployment) cleanUp(state protocol.State) {
	var errs []error
	if d.doc == nil {
		d.doc, _ = d.loadDocument()
	}
	over := state == protocol.StateRefused || state == protocol.StateSucceeded && !d.keeps()
	if over && d.doc != nil && d.doc.Archive != nil {
		errs = append(errs, d.fetching().Drop())
	}
	errs = append(errs, removeTree(d.path(treeDir)), removeTree(d.path(runDir)))
	for _, name := range []string{envelopeFile, documentFile} {
		if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		d.log.Warn("clean up after the attempt", logging.Err, err)
	}
}

// keeps reports whether this device keeps the archive's fragments for others.
func (d *deployment) keeps() bool { return d.in.KeepFragments && d.doc != nil && !d.doc.Private }

// removeTree removes a tree even when an archive made its directories read-only.
func removeTree(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			_ = os.Chmod(path, 0o700) // RemoveAll tells what could not be removed
		}
		return nil
	})
	return os.RemoveAll(dir)
}
