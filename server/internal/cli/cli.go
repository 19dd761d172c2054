// Package cli is the server's command line and the only place that constructs: it reads the
// configuration, makes each feature with what it needs and runs them until told to stop.
//
// A start after a crash needs no help: the database recovers itself, unfinished work is found in its
// tables, half-written files are left over temporaries that nobody reads.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/server/internal/config"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// program is what the subcommands share.
type program struct {
	out, err io.Writer
	file     string        // --config
	flags    config.Config // as far as flags were given
	cmd      *cobra.Command
}

// usageError is a mistake in the command line or the configuration.
type usageError struct{ err error }

func (u usageError) Error() string { return u.err.Error() }
func (u usageError) Unwrap() error { return u.err }

// Main runs the program and returns its exit code: 0 done, 1 failed, 2 wrong usage.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	return Run(ctx, args, stdout, stderr)
}

// Run is Main without signals: the program ends when ctx does.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	p := &program{out: stdout, err: stderr}
	root := &cobra.Command{
		Use: "muster-server", Short: "Inventory and software deployment: the server",
		SilenceUsage: true, SilenceErrors: true, Version: buildinfo.String(),
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRun:  func(cmd *cobra.Command, _ []string) { p.cmd = cmd },
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(args)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(p.serve(), p.backup(), p.restore(), p.admin(), p.version(), p.openapi())
	for _, c := range root.Commands() {
		wrapArgs(c)
	}
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "muster-server:", err)
	var u usageError
	if errors.As(err, &u) {
		return exitUsage
	}
	return exitFailed
}

// wrapArgs makes wrong arguments usage errors.
func wrapArgs(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = cobra.NoArgs
	}
	c.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// configFlags adds the flags of the configuration that all subcommands with data share.
func (p *program) configFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&p.file, "config", "", "configuration file, YAML or JSON (MUSTER_CONFIG)")
	f.StringVar(&p.flags.Data, "data", "", "data directory (default "+config.Default().Data+")")
	f.StringVar(&p.flags.Database, "database", "", "database address, sqlite:///… or mysql://… (default SQLite in the data directory)")
}

// load reads and checks the configuration.
func (p *program) load() (config.Config, error) {
	file := p.file
	if file == "" {
		file = os.Getenv("MUSTER_CONFIG")
	}
	c, err := config.Load(file, os.LookupEnv, p.overlay)
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return c, usageError{err}
	}
	if c.Data, err = filepath.Abs(c.Data); err != nil {
		return c, fmt.Errorf("find data directory: %w", err)
	}
	return c, nil
}

// overlay puts the flags that were given over c.
func (p *program) overlay(c *config.Config) {
	f := p.cmd.Flags()
	for name, fields := range map[string][2]*string{
		"data": {&c.Data, &p.flags.Data}, "database": {&c.Database, &p.flags.Database},
		"listen": {&c.Listen, &p.flags.Listen}, "http": {&c.HTTP, &p.flags.HTTP}, "metrics": {&c.Metrics, &p.flags.Metrics},
		"name": {&c.Name, &p.flags.Name}, "log-level": {&c.Log.Level, &p.flags.Log.Level}, "log-format": {&c.Log.Format, &p.flags.Log.Format},
	} {
		if f.Changed(name) {
			*fields[0] = *fields[1]
		}
	}
	if f.Changed("public-url") {
		c.PublicURLs = p.flags.PublicURLs
	}
}

func (p *program) logger(c config.Config) *slog.Logger {
	return logging.New(p.err, c.LogLevel(), c.Log.Format)
}

func (p *program) version() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Run: func(*cobra.Command, []string) {
		fmt.Fprintln(p.out, "muster-server", buildinfo.String())
	}}
}
