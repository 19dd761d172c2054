// Package update is the task that brings another release of the agent to this computer: verify, check, fetch,
// unpack, try its word, stage, arm. From there on the launcher decides (package launch); the resident only
// restarts into it. The same task, in whichever agent runs then, reports how it ended.
//
// `started` is journalled before the launcher is told to try the release, and what the launcher decided stands in
// its state. So a crash anywhere leaves either an agent that goes on here, or a launcher that knows what to do, and a
// task is tried at most once. Only task processes call this package: it links the archive formats.
package update

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/journal"
	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
)

// Times.
const (
	changeWait = 2 * time.Second // for a change that is ending
	minRetry   = time.Minute     // first wait of a waiting task; doubled each time in a row, up to
	maxRetry   = 15 * time.Minute
	sayAgain   = time.Hour // after which an unchanged reason to wait is reported again
)

// Updater makes the task. Its zero value is the real one.
type Updater struct {
	// Version replaces the version of this very agent, when it is not empty.
	Version string
	// Recorded is called after each record is on the disk and before it is told.
	Recorded func(attempt.Record)
}

// updating is one task while its process lives.
type updating struct {
	*Updater
	in      task.Input
	task    protocol.UpdateTask
	emit    task.Emit
	log     *slog.Logger
	store   *identity.Store
	client  *client.Client
	attempt *attempt.Attempt
	journal *journal.Journal[attempt.Record]
	records []attempt.Record
	hold    *task.Hold // what the three are of
	change  *proc.Lock // of the computer

	doc   *release.Release
	build release.Build
}

// verdict ends the task, or this process's part of it.
type verdict struct {
	state   protocol.State
	reason  protocol.Reason
	message string
	result  *protocol.UpdateResult // of a final state
	next    *time.Time
	restart bool // the launcher is to judge now
	quiet   bool // nothing is to be reported
}

// Error tells the verdict like a log line.
func (v *verdict) Error() string { return fmt.Sprintf("%s (%s): %s", v.state, v.reason, v.message) }

// Run carries out the task.
func (p *Updater) Run(ctx context.Context, in task.Input, emit task.Emit, log *slog.Logger) error {
	if in.Task.Update == nil {
		return fault.New(fault.Invalid, "the task names no release")
	}
	u := &updating{
		Updater: p, in: in, task: *in.Task.Update, log: log.With(logging.Attempt, in.Task.ID),
		emit: task.Marked(emit),
	}
	defer u.close()
	if err := u.open(ctx); err != nil {
		return err
	}
	return u.drive(ctx)
}

// version is that of the agent that runs.
func (u *updating) version() string { return cmp.Or(u.Version, buildinfo.Version) }

// open takes the task's lock, opens its journal and tells what was journalled before.
func (u *updating) open(ctx context.Context) (err error) {
	u.store = identity.Open(u.in.DataDir, u.in.Server)
	id, err := u.store.Load()
	if err != nil {
		return err
	}
	if u.client, err = client.New(client.Options{
		URLs: id.URLs, CAPEM: id.CAPEM, DeviceID: id.DeviceID, Secret: id.Secret, NextSecret: id.NextSecret, KeepAlive: true,
	}); err != nil {
		return err
	}
	if u.hold, err = task.Take(ctx, u.store.Dir(), u.in.Task, u.emit, u.log); err != nil {
		return err
	}
	u.attempt, u.journal, u.records = u.hold.Attempt, u.hold.Journal, u.hold.Records
	return nil
}

func (u *updating) close() {
	var errs []error
	if u.client != nil {
		u.client.Close()
	}
	if u.change != nil {
		errs = append(errs, u.change.Unlock())
	}
	if u.hold != nil {
		errs = append(errs, u.hold.Close())
	}
	if err := errors.Join(errs...); err != nil {
		u.log.Warn("close the task", logging.Err, err)
	}
}

// drive goes on behind the last record and reports how it ends.
func (u *updating) drive(ctx context.Context) error {
	if state := attempt.Furthest(u.records); state.Final() {
		u.cleanUp()
		return u.tell(&verdict{state: state})
	}
	err := u.carryOut(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // told to stop: goes on at the next start
	case errors.Is(err, task.ErrUntold):
		return err
	}
	v := u.asVerdict(err)
	if v.quiet {
		return u.tell(v)
	}
	if err := u.record(v); err != nil {
		return err
	}
	u.log.Info("updating ends", "state", v.state, "reason", v.reason, "message", v.message)
	if v.state.Final() {
		u.cleanUp()
	}
	return u.tell(v)
}

// asVerdict is what the end of carryOut means for the task.
func (u *updating) asVerdict(err error) *verdict {
	var v *verdict
	switch {
	case errors.As(err, &v):
		return v
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return u.wait(protocol.ReasonDiskSpace, "the disk is full: %v", err)
	case instruction.ReasonOf(err) != "":
		return u.kept(protocol.StateRefused, instruction.ReasonOf(err), "%v", err)
	default:
		return u.kept(protocol.StateFailed, protocol.ReasonDeviceError, "%v", err)
	}
}

// kept is a final verdict by which the agent that runs stays.
func (u *updating) kept(state protocol.State, reason protocol.Reason, format string, args ...any) *verdict {
	return u.final(state, reason, protocol.UpdateKept, format, args...)
}

func (u *updating) final(state protocol.State, reason protocol.Reason, outcome protocol.UpdateOutcome, format string, args ...any) *verdict {
	return &verdict{
		state: state, reason: reason, message: fmt.Sprintf(format, args...),
		result: &protocol.UpdateResult{From: u.version(), To: u.task.Version, Outcome: outcome},
	}
}

// wait is a verdict that pauses the task, longer each time in a row.
func (u *updating) wait(reason protocol.Reason, format string, args ...any) *verdict {
	v := &verdict{state: protocol.StateWaiting, reason: reason, message: fmt.Sprintf(format, args...)}
	pause := minRetry
	for n := len(u.records) - 1; n >= 0 && u.records[n].State() == protocol.StateWaiting && pause < maxRetry; n-- {
		pause *= 2
	}
	next := time.Now().Add(min(pause, maxRetry)).UTC().Truncate(time.Second)
	v.next = &next
	if n := len(u.records); n > 0 {
		last := u.records[n-1]
		v.quiet = last.State() == v.state && last.Reason() == reason && pause >= maxRetry && time.Since(last.Report.Time) < sayAgain
	}
	return v
}

func (u *updating) tell(v *verdict) error {
	end := task.End{State: v.state, Restart: v.restart}
	if v.next != nil {
		end.NextTry = *v.next
	}
	if err := u.emit(task.Event{End: &end}); err != nil {
		return fmt.Errorf("tell the end: %w", err)
	}
	return nil
}

func (u *updating) has(state protocol.State) bool {
	return slices.ContainsFunc(u.records, func(r attempt.Record) bool { return r.State() == state })
}

// record journals how the task stands and then tells it.
func (u *updating) record(v *verdict) error {
	report, err := attempt.NewTaskReport(time.Now(), protocol.TaskReport{
		TaskID: u.in.Task.ID, Kind: protocol.TaskUpdate, State: v.state, Reason: v.reason, Message: line(v.message), Update: v.result, NextTry: v.next,
	})
	if err != nil {
		return err
	}
	record := attempt.Record{Report: report}
	if err := u.journal.Append(record); err != nil {
		return fmt.Errorf("journal %s: %w", v.state, err)
	}
	u.records = append(u.records, record)
	if u.Recorded != nil {
		u.Recorded(record)
	}
	if err := u.emit(task.Event{Report: &report}); err != nil {
		return fmt.Errorf("tell %s: %w", v.state, err)
	}
	return nil
}

// carryOut does what is still to be done. Its error is a verdict, or what went wrong with the device.
func (u *updating) carryOut(ctx context.Context) error {
	if u.has(protocol.StateStarted) {
		return u.judged()
	}
	if u.in.Untrusted != "" {
		return u.wait(protocol.ReasonTrust, "%s", u.in.Untrusted)
	}
	if !u.has(protocol.StateAccepted) {
		if err := u.record(&verdict{state: protocol.StateAccepted, message: "update to agent " + u.task.Version + " accepted"}); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{u.verify, u.check, u.fetch, u.install} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return errors.New("the steps ended without a result") // install always has one
}

// cleanUp removes what only the running task needed. The journal stays, as what the task did.
func (u *updating) cleanUp() {
	var errs []error
	if u.doc != nil && !u.in.KeepFragments {
		errs = append(errs, u.fetching().Drop())
	}
	for _, path := range []string{launch.Staging(u.in.DataDir), u.path(envelopeFile)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		u.log.Warn("clean up after the task", logging.Err, err)
	}
}

// envelopeFile is the signed release as it was fetched, in the task's folder.
const envelopeFile = "envelope.json"

func (u *updating) path(name string) string { return filepath.Join(u.attempt.Dir(), name) }

// line makes a message one line of valid text within the bounds of a report: part of it may be what a program or a
// server said.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= protocol.MaxMessage {
		return s
	}
	at := protocol.MaxMessage - len("…")
	for !utf8.RuneStart(s[at]) {
		at--
	}
	return s[:at] + "…"
}
