package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/local"
	"github.com/muster/muster/agent/internal/resident"
	"github.com/muster/muster/agent/internal/session"
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
	if *asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	return printStatus(stdout, s)
}

func printStatus(w io.Writer, s resident.Status) error {
	head := fmt.Sprintf("muster-agent %s runs (pid %d, since %s)", s.Version, s.PID, clock(s.Since))
	if s.Stopped {
		head = fmt.Sprintf("muster-agent does not run; what it said last, at %s:", clock(s.Written))
	}
	lines := []string{head}
	if s.Attempt != "" && !s.Stopped {
		lines = append(lines, "working on attempt "+s.Attempt)
	}
	if s.Queued > 0 && !s.Stopped {
		lines = append(lines, "tasks in the queue: "+strconv.Itoa(s.Queued))
	}
	if !s.Stopped {
		lines = append(lines, listenerLines(s.Listener)...)
	}
	for _, u := range s.Servers {
		connection := "not connected (check-ins by HTTPS)"
		switch {
		case s.Stopped:
			connection = "not connected"
		case u.Connected:
			connection = "connected"
		}
		lines = append(lines,
			fmt.Sprintf("%s  %s", u.Server, u.URL),
			fmt.Sprintf("  device %s  %s  %s", u.DeviceID, u.DeviceState, connection),
			fmt.Sprintf("  last check-in %s, next %s, reports to deliver: %d", clock(u.LastCheckIn), clock(u.NextCheckIn), u.Undelivered))
		if u.Lost > 0 {
			lines = append(lines, fmt.Sprintf("  reports lost because the spool was full or damaged: %d", u.Lost))
		}
		if u.SkewSeconds != 0 {
			lines = append(lines, "  "+session.SkewText(u.SkewSeconds))
		}
		if u.Problem != "" {
			lines = append(lines, "  problem: "+u.Problem)
		}
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
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

func clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
