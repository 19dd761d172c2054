// Package cli is the agent's command line: enroll, run, once, status, version, and the two hidden entries
// by which the agent starts itself again for a task or a command. It is the only place that wires the
// parts together. It keeps nothing; main calls Main, once.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/removal"
	"github.com/muster/muster/agent/internal/service"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/agent/internal/task/deploy"
	"github.com/muster/muster/agent/internal/task/inventory"
	"github.com/muster/muster/agent/internal/task/module"
	"github.com/muster/muster/agent/internal/task/remove"
	"github.com/muster/muster/agent/internal/task/software"
	"github.com/muster/muster/agent/internal/task/update"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	// exitRemoved tells service managers not to start the agent again.
	exitRemoved = service.ExitRemoved
)

const usage = `muster-agent: inventory and software deployment, the part on the device

  muster-agent enroll [--data DIR] [--name NAME] ENROLLMENT       become a device of a server
  muster-agent enroll [--data DIR] [--name NAME] --enrollment-file FILE   the same; - is the standard input
  muster-agent run    [--data DIR]            stay and do what the servers ask for
  muster-agent once   [--data DIR]            check in once, do what is asked, deliver, end
  muster-agent status [--data DIR] [--json]   how the agent stands
  muster-agent log    [--data DIR] [-f] [--lines N] [--task TASK] [--level LEVEL]   the end of the log; -f: and what comes
  muster-agent inventory [--sections NAME,…] [--processes]   print what an inventory finds, and send nothing
  muster-agent module run FOLDER [--parameters JSON]   run a module that you write, print its rows, and send nothing
  muster-agent service install|uninstall|start|stop|status [--data DIR]   the agent as a service, where no package made it one
  muster-agent uninstall [--data DIR] [--force]   tell the servers goodbye and leave this computer; --force: do not tell
  muster-agent version

The data directory is /var/lib/muster-agent for root, else ~/.local/share/muster-agent.
Its agent.json says when to check in, when to make inventories and what each server may ask for.
An agent that runs takes up a server that it was enrolled at by itself. Enrollment strings in the file
"enrollment" of the data directory, one a line, are tried until they succeed.
`

// errUsage marks an error that is answered with the exit code for wrong usage.
var errUsage = errors.New("wrong usage")

// tasks are the kinds of task that this binary carries out in processes of their own.
func tasks() map[string]task.Func {
	installed := func(ctx context.Context) ([]protocol.Software, error) { return software.List(ctx, software.Options{}) }
	return map[string]task.Func{
		protocol.TaskDeploy:    new(deploy.Deployer).Run,
		protocol.TaskInventory: inventory.Task{Software: installed}.Run,
		protocol.TaskUninstall: new(software.Uninstaller).Run,
		protocol.TaskUpdate:    new(update.Updater).Run,
		protocol.TaskRemove:    remove.Run,
		protocol.TaskModule:    module.Run,
	}
}

// Main runs a command line and returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	if len(args) == 2 {
		switch args[0] {
		case proc.ArgTask:
			return task.Main(args[1], tasks(), stderr)
		case proc.ArgRunner:
			return proc.RunnerMain(args[1], stderr)
		case removal.Arg:
			return removalMain(args[1], stderr)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := dispatch(ctx, args, stdout, stderr)
	var ended *launch.Exit
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &ended):
		return ended.Code
	case errors.Is(err, errRemoved):
		return exitRemoved
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return exitOK
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "muster-agent: %s\nSee: muster-agent help\n", oneLine(err))
		return exitUsage
	default:
		fmt.Fprintf(stderr, "muster-agent: %s\n", oneLine(err))
		return exitFailed
	}
}

func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: which command?", errUsage)
	}
	rest := args[1:]
	switch args[0] {
	case "enroll":
		return enroll(ctx, rest, stdout)
	case "run":
		return run(ctx, rest, stderr)
	case "once":
		return once(ctx, rest, stderr)
	case "status":
		return status(rest, stdout)
	case "log":
		return printLog(ctx, rest, stdout)
	case "inventory":
		return printInventory(ctx, rest, stdout)
	case "module":
		return tryModule(ctx, rest, stdout, stderr)
	case "service":
		return manage(ctx, rest, stdout)
	case "uninstall":
		return uninstall(ctx, rest, stdout, stderr)
	case "version", "--version":
		_, err := fmt.Fprintln(stdout, "muster-agent", buildinfo.String())
		return err
	case "help", "-h", "--help":
		return flag.ErrHelp
	default:
		return fmt.Errorf("%w: there is no command %q", errUsage, args[0])
	}
}

// flags makes a flag set with the flag that every command has.
func flags(name string) (*flag.FlagSet, *string) {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	return set, set.String("data", defaultData(), "data directory")
}

// parse reads the flags; they may stand before and after at most most arguments.
func parse(set *flag.FlagSet, args []string, most int) ([]string, error) {
	var rest []string
	for {
		if err := set.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %s: %w", errUsage, set.Name(), err)
		}
		if set.NArg() == 0 {
			break
		}
		rest = append(rest, set.Arg(0))
		args = set.Args()[1:]
	}
	if len(rest) > most {
		return nil, fmt.Errorf("%w: %s takes no argument %q", errUsage, set.Name(), rest[most])
	}
	return rest, nil
}

// defaultData is the data directory when none is given.
func defaultData() string {
	switch {
	case runtime.GOOS == "windows":
		if dir := os.Getenv("ProgramData"); dir != "" {
			return filepath.Join(dir, "muster-agent")
		}
		return `C:\ProgramData\muster-agent`
	case os.Geteuid() == 0:
		return "/var/lib/muster-agent"
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "share", "muster-agent")
}

// dataDir makes the data directory, for this user alone, and returns it as an absolute path.
func dataDir(given string) (string, error) {
	if given == "" {
		return "", fault.New(fault.Invalid, "the data directory is not known here: give --data DIR")
	}
	dir, err := filepath.Abs(given)
	if err != nil {
		return "", fmt.Errorf("find the data directory: %w", err)
	}
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the data directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("look at the data directory: %w", err)
	}
	// What lies there decides what runs, as root on most devices. Windows has no such modes.
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0 {
		return "", fault.New(fault.Untrusted, "every user may write to the data directory %s: chmod 700 it, and look whether all in it is the agent's", dir)
	}
	return dir, nil
}

// oneLine joins the lines of an error that consists of several, in a form fit for a terminal.
func oneLine(err error) string { return printable(strings.ReplaceAll(err.Error(), "\n", "; ")) }

// printable puts spaces in place of what steers a terminal: part of a text may be a server's.
func printable(text string) string { return logging.Clean(text) }
