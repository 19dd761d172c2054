package software

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// Bounds of one program.
const (
	maxRuns   = 3               // commands begun for it whose end is lost, or that did not get to work
	maxOthers = 50              // names in Others
	dryLimit  = 2 * time.Minute // of a command that only looks
)

// uninstall brings one program to its status. All that it decides by is on the disk: what was begun for it,
// and what the system says. So it makes no difference whether this process began it or one before.
func (u *uninstalling) uninstall(ctx context.Context, index int, key string) (*protocol.TaskItem, error) {
	ref := u.refs[key]
	m := managerOf(ref.Source)
	if !slices.ContainsFunc(sources(), func(s source) bool { return s.name == ref.Source }) {
		return u.item(key, protocol.ItemUnsupported, nil, "this agent does not know %.40q as a source of software", ref.Source), nil
	}
	dir := u.path(itemsDir, fmt.Sprintf("%03d", index))
	for {
		runs, status, err := u.former(ctx, dir)
		if err != nil {
			return nil, err
		}
		row, rows, err := u.find(ctx, key)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return u.item(key, protocol.ItemFailed, status, "what is installed cannot be looked at: %v", err), nil
		}
		if item := u.settled(key, row, rows, runs, status, m); item != nil {
			return item, nil
		}
		if m == nil {
			return u.item(key, protocol.ItemUnsupported, nil, "this agent cannot uninstall what comes from %s", ref.Source), nil
		}
		command, item, err := u.judge(ctx, m, row)
		if item != nil || err != nil {
			return item, err
		}
		if err := u.begin(ctx, filepath.Join(dir, strconv.Itoa(runs+1)), command); err != nil {
			return nil, err
		}
	}
}

// former waits for what was begun for a program, and returns how often that was and how the last one ended;
// the status is nil when nothing was begun, or its end was lost.
func (u *uninstalling) former(ctx context.Context, dir string) (runs int, status *proc.Status, err error) {
	for ; ; runs++ {
		run := filepath.Join(dir, strconv.Itoa(runs+1))
		phase, err := phaseOf(run)
		if err != nil {
			return 0, nil, fmt.Errorf("look at what was begun: %w", err)
		}
		if phase == proc.RunNone {
			return runs, status, nil
		}
		status, err = proc.Await(ctx, run)
		switch {
		case errors.Is(err, proc.ErrLost):
			status = nil
		case err != nil:
			return 0, nil, fmt.Errorf("wait for the command: %w", err)
		}
	}
}

// find looks for the program on the system. rows are all that its source has.
func (u *uninstalling) find(ctx context.Context, key string) (*protocol.Software, []protocol.Software, error) {
	var from []source
	for _, s := range sources() {
		if s.name == u.refs[key].Source {
			from = append(from, s)
		}
	}
	rows, _, err := list(ctx, Options{Root: u.Root, Run: u.output, Log: u.log}, from)
	for n := range rows {
		if rows[n].Key == key {
			return &rows[n], rows, nil
		}
	}
	return nil, rows, err // that it is not there is known only when all was read
}

// settled is the program's status when it is decided: it is not there, or a command ran and it still is.
func (u *uninstalling) settled(key string, row *protocol.Software, rows []protocol.Software, runs int, status *proc.Status, m *manager) *protocol.TaskItem {
	name := title(u.refs[key])
	switch {
	case row == nil && runs > 0 && status != nil && status.ExitCode != 0:
		return u.item(key, protocol.ItemRemoved, status, "%s is gone, though the command ended with %s", name, ending(status))
	case row == nil && runs > 0:
		return u.item(key, protocol.ItemRemoved, status, "%s is gone", name)
	case row == nil:
		return u.item(key, protocol.ItemNotInstalled, nil, "%s is not installed%s", name, present(u.refs[key], rows))
	case runs >= maxRuns && status == nil:
		return u.item(key, protocol.ItemFailed, nil, "uninstalling %s was begun %d times, and each time nothing tells how it ended; it is still there", name, runs)
	case runs == 0, status == nil, runs < maxRuns && m != nil && status.ExitCode > 0 && status.ExitCode == m.again:
		return nil
	case status.StartError != "":
		return u.item(key, protocol.ItemFailed, status, "the command could not be started: %s", status.StartError)
	case status.TimedOut:
		return u.item(key, protocol.ItemFailed, status, "the command was ended at its time limit of %s; %s is still there", u.limit(), name)
	case status.ExitCode == 0:
		return u.item(key, protocol.ItemFailed, status, "the command ended well, but %s is still there%s", name, condition(row))
	default:
		return u.item(key, protocol.ItemFailed, status, "the command ended with %s; %s is still there%s", ending(status), name, condition(row))
	}
}

// judge decides whether the program may go. It returns the command that takes it away, the status of one that
// stays, or a verdict that lets the task wait.
func (u *uninstalling) judge(ctx context.Context, m *manager, row *protocol.Software) ([]string, *protocol.TaskItem, error) {
	name := title(u.refs[row.Key])
	why, err := u.protected(ctx, m, row)
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	if err != nil {
		return nil, u.item(row.Key, protocol.ItemFailed, nil, "it cannot be told whether %s is protected: %v", name, err), nil
	}
	if why != "" {
		return nil, u.item(row.Key, protocol.ItemProtected, nil, "%s stays: %s", name, why), nil
	}
	if holder := m.busy(u.Root); holder != "" {
		return nil, nil, u.wait(protocol.ReasonBusy, "%s is at work (%s)", m.source, holder)
	}
	p, err := m.plan(ctx, u, target{row: row, ref: u.refs[row.Key]})
	var v *verdict
	switch {
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case errors.As(err, &v):
		return nil, nil, err
	case err != nil:
		return nil, u.item(row.Key, protocol.ItemFailed, nil, "%v", err), nil
	case len(p.others) > 0:
		item := u.item(row.Key, protocol.ItemNeeded, nil, "%s is needed by %s", name, enumerate(p.others))
		item.Others = p.others[:min(len(p.others), maxOthers)]
		return nil, item, nil
	}
	for _, other := range p.with {
		if why := u.protectedName(other); why != "" {
			item := u.item(row.Key, protocol.ItemProtected, nil, "%s stays: %s would go with it, and %s", name, other, why)
			return nil, item, nil
		}
	}
	return p.argv, nil, nil
}

// begin starts the command in a folder of its own and waits for its end, which former then reads.
func (u *uninstalling) begin(ctx context.Context, dir string, argv []string) error {
	_, err := u.runner(ctx, dir, argv, u.limit())
	if errors.Is(err, proc.ErrLost) {
		return nil
	}
	return err
}

// dry runs a command that changes nothing, and returns its exit code and all that it wrote. An answer that is
// longer than what a runner keeps is an error: who stands in the way may be in what is missing.
func (u *uninstalling) dry(ctx context.Context, argv ...string) (*proc.Status, error) {
	dir := u.path(dryDir)
	if err := os.RemoveAll(dir); err != nil { // an active one was waited for by attach
		return nil, fmt.Errorf("clean up after the command before: %w", err)
	}
	status, err := u.runner(ctx, dir, argv, dryLimit)
	switch {
	case err != nil:
		return nil, err
	case status.StartError != "":
		return nil, fmt.Errorf("%s could not be started: %s", argv[0], status.StartError)
	case status.TimedOut:
		return nil, fmt.Errorf("%s did not answer within %s", strings.Join(argv, " "), dryLimit)
	case status.OutputBytes > protocol.MaxOutputTail:
		return nil, fmt.Errorf("%s answers with %d bytes, more than the %d that can be looked at", strings.Join(argv, " "), status.OutputBytes, protocol.MaxOutputTail)
	}
	return status, nil
}

func (u *uninstalling) runner(ctx context.Context, dir string, argv []string, limit time.Duration) (*proc.Status, error) {
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the command's folder: %w", err)
	}
	run, err := proc.StartRunner(dir, proc.Command{Argv: u.program(argv), Env: environment, TimeLimit: limit}, u.change)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	return run.Await(ctx)
}

// environment keeps package managers from asking questions that nobody answers.
var environment = []string{"DEBIAN_FRONTEND=noninteractive", "DEBCONF_NONINTERACTIVE_SEEN=true", "LC_ALL=C.UTF-8"}

// program puts the folder of the package managers before the command's name.
func (u *uninstalling) program(argv []string) []string {
	if u.Programs == "" {
		return argv
	}
	return append([]string{filepath.Join(u.Programs, argv[0])}, argv[1:]...)
}

// output is the Run of Options.
func (u *uninstalling) output(ctx context.Context, name string, args ...string) ([]byte, error) {
	argv := u.program(append([]string{name}, args...))
	return run(ctx, argv[0], argv[1:]...)
}

func (u *uninstalling) limit() time.Duration {
	if u.task.LimitSeconds > 0 {
		return time.Duration(u.task.LimitSeconds) * time.Second
	}
	return proc.DefaultTimeLimit
}

// item is a program's status, with how its command ended. The output is told of what failed only.
func (u *uninstalling) item(key string, status protocol.ItemStatus, s *proc.Status, format string, args ...any) *protocol.TaskItem {
	item := &protocol.TaskItem{ID: key, Status: status, Message: clean(fmt.Sprintf(format, args...), protocol.MaxMessage/2)}
	if s == nil {
		return item
	}
	if s.StartError == "" && s.Signal == "" {
		item.ExitCode = &s.ExitCode
	}
	if s.EndedAt.After(s.StartedAt) && !s.StartedAt.IsZero() {
		item.DurationMS = s.EndedAt.Sub(s.StartedAt).Milliseconds()
	}
	if status == protocol.ItemFailed {
		item.Output = tail(s.Output, min(protocol.MaxItemOutput, maxOutputs/len(u.task.Software)))
	}
	u.log.Debug("command", "key", key, "exit_code", s.ExitCode, "output", s.Output, logging.Err, s.StartError)
	return item
}

// tail is the end of what a command wrote, without control characters.
func tail(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) <= limit {
		return text
	}
	cut := len(text) - limit
	for cut < len(text) && !utf8.RuneStart(text[cut]) {
		cut++
	}
	return text[cut:]
}

// ending says how a command ended that did not end well.
func ending(s *proc.Status) string {
	if s.Signal != "" {
		return fmt.Sprintf("the signal %q", s.Signal)
	}
	return fmt.Sprintf("exit code %d", s.ExitCode)
}

// title is how people call the program of a key.
func title(r Ref) string { return strings.TrimSpace(r.Name + " " + r.Version) }

// condition says in what state a program was left.
func condition(row *protocol.Software) string {
	if row.Condition == "" {
		return ""
	}
	return ", " + row.Condition
}

// present names the versions of the program that are there instead.
func present(ref Ref, rows []protocol.Software) string {
	var versions []string
	for _, row := range rows {
		if other, err := Parse(row.Key); err == nil && other.Name == ref.Name && (ref.Arch == "" || other.Arch == ref.Arch) {
			versions = append(versions, row.Version)
		}
	}
	if len(versions) == 0 {
		return ""
	}
	slices.Sort(versions)
	return "; there is " + enumerate(versions)
}

// enumerate lists names for people, not too many.
func enumerate(names []string) string {
	const most = 8
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
