package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/local"
	"github.com/muster/muster/agent/internal/resident"
	"github.com/muster/muster/agent/internal/session"
	"github.com/muster/muster/packages/protocol"
)

// status tells how the agent of a data directory stands.
func status(args []string, stdout io.Writer) error {
	set, data := flags("status")
	asJSON := set.Bool("json", false, "machine-readable")
	if _, err := parse(set, args, 0); err != nil {
		return err
	}
	s, err := resident.ReadStatus(*data)
	if err != nil {
		return err
	}
	running, err := resident.Running(*data)
	if err != nil {
		return err
	}
	s.Stopped = !running
	all := fullStatus{Status: s}
	if all.Launch, err = launch.Load(*data); err != nil {
		all.LaunchProblem = err.Error() // an agent runs all the same
	}
	if *asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(all)
	}
	return printStatus(stdout, all)
}

// fullStatus is what the resident said last, and what its launcher goes by.
type fullStatus struct {
	resident.Status
	Launch        launch.State `json:"launch"`
	LaunchProblem string       `json:"launch_problem,omitempty"` // why Launch is empty
}

func printStatus(w io.Writer, s fullStatus) error {
	head := fmt.Sprintf("muster-agent %s runs (pid %d, since %s)", s.Version, s.PID, clock(s.Since))
	if s.Stopped {
		head = fmt.Sprintf("muster-agent does not run; what it said last, at %s:", clock(s.Written))
	}
	lines := append([]string{head}, programLines(s.Program, s.Launch)...)
	if s.LaunchProblem != "" {
		lines = append(lines, "  which agent is to run is not known, so the installed one does: "+s.LaunchProblem)
	}
	lines = append(lines, "  "+costLine(s.Footprint))
	if !s.Stopped {
		for _, t := range s.Running {
			lines = append(lines, strings.TrimRight(fmt.Sprintf("at work for %s: %s %s", cmp.Or(t.Server, "itself"), t.Kind, t.ID), " "))
		}
		lines = append(lines, listenerLines(s.Listener)...)
	}
	if s.PendingEnrollments > 0 {
		lines = append(lines, fmt.Sprintf("enrollment strings that wait: %d; %s", s.PendingEnrollments, s.EnrollmentProblem))
	}
	for _, m := range s.Modules {
		lines = append(lines, moduleLine(m))
	}
	if len(s.Servers) == 0 {
		lines = append(lines, "enrolled at no server: see muster-agent help")
	}
	for _, u := range s.Servers {
		lines = append(lines, "")
		lines = append(lines, serverLines(u, s.Stopped)...)
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, printable(line)); err != nil {
			return err
		}
	}
	return nil
}

// programLines tell which program is the agent, and how the last update stands.
func programLines(p launch.Program, s launch.State) []string {
	var lines []string
	switch {
	case p.Slot != "":
		lines = append(lines, fmt.Sprintf("  program: slot %s of the data directory; installed is %s, version %s", p.Slot, p.Installed, p.Version))
	case p.Installed != "":
		lines = append(lines, "  program: the installed one, "+p.Installed)
	}
	switch t := s.Trial; {
	case t != nil && t.Attempts > 0:
		lines = append(lines, fmt.Sprintf("  an update from %s to %s is on trial: start %d of %d, it must check in within %s", t.From, t.Version, t.Attempts,
			launch.MaxAttempts, time.Duration(t.ProbationMS)*time.Millisecond))
	case t != nil:
		lines = append(lines, fmt.Sprintf("  an update from %s to %s is ready to be tried", t.From, t.Version))
	case s.Last != nil:
		lines = append(lines, fmt.Sprintf("  last update: from %s to %s, %s: %s", s.Last.From, s.Last.To, strings.ReplaceAll(string(s.Last.Outcome), "_", " "), s.Last.Message))
	}
	return lines
}

// costLine tells what the agent has cost since it started.
func costLine(f protocol.Footprint) string {
	return fmt.Sprintf("memory %s, at most %s, a task at most %s; processor %s; sent %s, received %s", size(f.RSSBytes), size(f.RSSHighBytes),
		size(f.TaskHighBytes), (time.Duration(f.CPUMS) * time.Millisecond).Round(10*time.Millisecond), size(f.SentBytes), size(f.ReceivedBytes))
}

// size tells bytes to people.
func size(n int64) string {
	switch {
	case n <= 0:
		return "0"
	case n < 10_000:
		return strconv.FormatInt(n, 10) + " B"
	case n < 10_000_000:
		return strconv.FormatInt(n/1000, 10) + " kB"
	default:
		return strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64) + " MB"
	}
}

// serverLines tell how the agent stands with one server.
func serverLines(u resident.ServerStatus, stopped bool) []string {
	connection := "not connected (check-ins by HTTPS)"
	switch {
	case stopped:
		connection = "not connected"
	case u.Connected:
		connection = "connected"
	}
	allowed := "nothing"
	if len(u.TasksAllowed) > 0 {
		allowed = strings.Join(u.TasksAllowed, ", ")
	}
	inventory := "none: this device's configuration does not let the server have one"
	if slices.Contains(u.TasksAllowed, protocol.TaskInventory) {
		inventory = fmt.Sprintf("last %s, next %s", clock(u.LastInventory), next(u.NextInventory))
	}
	lines := []string{
		fmt.Sprintf("%s  %s", u.Server, u.URL),
		fmt.Sprintf("  device       %s  %s  %s", u.DeviceID, u.DeviceState, connection),
		fmt.Sprintf("  check-in     last %s, next %s", clock(u.LastCheckIn), clock(u.NextCheckIn)),
		"  inventory    " + inventory,
		"  may ask for  " + allowed,
		"  log          " + logLine(u.LogLevel),
		fmt.Sprintf("  queue        tasks: %d, reports to deliver: %d", u.Queued, u.Undelivered),
		fmt.Sprintf("  network      sent %s, received %s", size(u.SentBytes), size(u.ReceivedBytes)),
	}
	if u.Lost > 0 {
		lines = append(lines, fmt.Sprintf("  reports lost because the spool was full or damaged: %d", u.Lost))
	}
	if u.SkewSeconds != 0 {
		lines = append(lines, "  "+session.SkewText(u.SkewSeconds))
	}
	if u.Problem != "" {
		lines = append(lines, "  problem: "+u.Problem)
	}
	if u.InventoryProblem != "" {
		lines = append(lines, "  problem with the inventory: "+u.InventoryProblem)
	}
	if u.ModulesProblem != "" {
		lines = append(lines, "  problem with what modules found: "+u.ModulesProblem)
	}
	return lines
}

// logLine tells which lines of the log the server gets.
func logLine(level string) string {
	if level == "" || level == protocol.LogOff {
		return "stays on this device"
	}
	return "the server gets lines from " + level + " on"
}

// moduleLine tells how a module from outside stands.
func moduleLine(m resident.ModuleStatus) string {
	line := "module " + strings.TrimSpace(m.Name+" "+m.Version)
	switch {
	case m.Problem != "":
		return line + "  does not run: " + m.Problem
	case m.Schedule == "":
		return line + "  when a server asks"
	default:
		return fmt.Sprintf("%s  last %s, next %s", line, clock(m.Last), next(m.Next))
	}
}

// listenerLines tell how the agent's own listener stands; nothing when it is switched off.
func listenerLines(s local.State) []string {
	var lines []string
	if len(s.Addresses) > 0 {
		lines = append(lines, "listens on "+strings.Join(s.Addresses, ", "))
	}
	if s.Fingerprint != "" {
		lines = append(lines, "  certificate for the network, SHA-256: "+s.Fingerprint)
	}
	if s.Problem != "" {
		lines = append(lines, "  listener: "+s.Problem)
	}
	return lines
}

// next is when something is due.
func next(t time.Time) string {
	if t.Before(time.Now()) {
		return "now"
	}
	return clock(t)
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
