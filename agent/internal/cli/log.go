package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/muster/muster/agent/internal/logfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// Bounds of --lines.
const (
	defaultLines = 100
	maxLines     = 1_000_000
)

// printLog prints the end of the log.
func printLog(ctx context.Context, args []string, stdout io.Writer) error {
	set, data := flags("log")
	var follow bool
	set.BoolVar(&follow, "f", false, "go on with what comes")
	set.BoolVar(&follow, "follow", false, "go on with what comes")
	lines := set.Int("lines", defaultLines, "how many lines")
	task := set.String("task", "", "only lines of this kind of task; core is the resident process")
	level := set.String("level", protocol.LogLevels[0], "only lines from this level on")
	if _, err := parse(set, args, 0); err != nil {
		return err
	}
	if *lines < 0 || *lines > maxLines {
		return fmt.Errorf("%w: --lines %d is not between 0 and %d", errUsage, *lines, maxLines)
	}
	var from slog.Level
	if err := from.UnmarshalText([]byte(*level)); err != nil || strings.ContainsAny(*level, "+-") {
		return fmt.Errorf("%w: --level %q is none of %s", errUsage, *level, strings.Join(protocol.LogLevels, ", "))
	}
	all := *task == "" && from <= slog.LevelDebug
	wanted := func(line []byte) bool {
		l, ok := logging.ParseLine(string(line))
		return all || ok && l.Level >= from && (*task == "" || l.Task == *task)
	}
	last := make([]string, 0, min(*lines, defaultLines))
	at, err := logfile.Read(*data, logfile.Position{}, func(line []byte) error {
		if *lines == 0 || !wanted(line) {
			return nil
		}
		if len(last) >= *lines {
			last = last[1:]
		}
		last = append(last, string(line))
		return nil
	})
	if err != nil {
		return err
	}
	for _, line := range last {
		if _, err := fmt.Fprintln(stdout, printable(line)); err != nil {
			return err
		}
	}
	if !follow {
		if at == (logfile.Position{}) {
			return fault.New(fault.NotFound, "no agent has logged with the data directory %s yet", *data)
		}
		return nil
	}
	return logfile.Follow(ctx, *data, at, func(line []byte) error {
		if !wanted(line) {
			return nil
		}
		_, err := fmt.Fprintln(stdout, printable(string(line)))
		return err
	})
}
