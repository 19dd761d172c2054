// Package cli is the `muster` command line: commands, their flags, and what people and scripts read.
// main calls Main; nothing else does. It changes nothing but its own configuration file (atomically),
// key files it is told to make, and what it asks the server for. Interrupted at any point, an upload
// can be resumed and a wait begun again.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/muster/internal/client"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1 // a deployment failed, or the server refused the request
	exitUsage       = 2 // the command line makes no sense
	exitUnreachable = 3 // the server cannot be reached, or does not know us
	exitTimeout     = 4 // what was waited for did not happen in time
)

// World is everything outside that the commands touch.
type World struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	// Terminal is true when a person sits at In and Err.
	Terminal bool
	// ReadPassword reads a line without showing it.
	ReadPassword func() (string, error)
	Now          func() time.Time
	// Poll is how often a wait asks the server when no events arrive.
	Poll time.Duration
}

// System is the real world.
func System() World {
	in, screen := int(os.Stdin.Fd()), int(os.Stderr.Fd()) // descriptors are small
	return World{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv,
		Terminal: term.IsTerminal(in) && term.IsTerminal(screen),
		ReadPassword: func() (string, error) {
			b, err := term.ReadPassword(in)
			return string(b), err
		},
		Now: time.Now, Poll: 2 * time.Second,
	}
}

// app is one run of the program.
type app struct {
	World
	json       bool
	configPath string
	server     string
	caFile     string
}

// errFailed ends a command whose output has already said what failed.
var errFailed = errors.New("failed")

// errTimeout is what --timeout ends a wait with.
var errTimeout = errors.New("not finished in time")

// usageError is about the command line itself.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Main runs one command and returns the exit code.
func Main(ctx context.Context, args []string, w World) int {
	a := &app{World: w}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(w.In)
	root.SetOut(w.Out)
	root.SetErr(w.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errFailed) {
		fmt.Fprintf(w.Err, "muster: %s\n", sentence(err))
	}
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "muster",
		Short:         "Pack, sign and deploy software with a Muster server",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "print JSON")
	f.StringVar(&a.configPath, "config", "", "configuration `file` (default ~/.config/muster/config.json)")
	f.StringVar(&a.server, "server", "", "server `address` (default: the one logged in to; MUSTER_SERVER)")
	f.StringVar(&a.caFile, "ca-file", "", "CA certificate of the server, PEM `file` (MUSTER_CA)")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		a.loginCommand(), a.logoutCommand(), a.whoamiCommand(), a.packageCommand(), a.keygenCommand(), a.trustCommand(),
		a.deviceCommand(), a.groupCommand(), a.wakeupCommand(), a.assignCommand(), a.unassignCommand(), a.assignmentCommand(),
		a.deploymentCommand(), a.taskCommand(), a.releaseCommand(), a.updateCommand(), a.enrollmentTokenCommand(), a.auditCommand(), a.versionCommand(),
	)
	return root
}

func exitCode(err error) int {
	var u usageError
	var unreachable *client.UnreachableError
	var cert *client.CertificateError
	switch {
	case errors.As(err, &u), isCobraUsage(err):
		return exitUsage
	case errors.Is(err, errTimeout):
		return exitTimeout
	case errors.As(err, &unreachable), errors.As(err, &cert), fault.Is(err, fault.Unauthenticated), fault.Is(err, fault.Forbidden):
		return exitUnreachable
	default:
		return exitFailed
	}
}

// isCobraUsage knows the errors that cobra makes itself, without a type, before a command runs.
func isCobraUsage(err error) bool {
	s := err.Error()
	return strings.HasPrefix(s, "unknown command ") || strings.HasPrefix(s, "required flag(s) ") ||
		strings.HasPrefix(s, "if any flags in the group ") || strings.HasPrefix(s, "at least one of the flags ")
}

// sentence makes an error one line.
func sentence(err error) string {
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	s := strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
	if fault.Is(err, fault.Unauthenticated) {
		s += " (log in with: muster login URL)"
	}
	return s
}

// args turns cobra's complaint about the number of arguments into a usage error.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, got []string) error {
		if err := check(c, got); err != nil {
			return usage("%w; see: %s --help", err, c.CommandPath())
		}
		return nil
	}
}

// group is a command that only holds others.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: args(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error {
		return usage("%s needs a subcommand; see: %s --help", c.Name(), c.CommandPath())
	}}
	c.AddCommand(children...)
	return c
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this program", Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(map[string]string{"version": buildinfo.Version, "revision": buildinfo.Revision()})
			}
			_, err := fmt.Fprintln(a.Out, "muster", buildinfo.String())
			return err
		},
	}
}
