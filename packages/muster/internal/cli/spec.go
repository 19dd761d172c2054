package cli

import (
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/muster/internal/client"
)

// specFlags are the flags by which an author describes a package.
type specFlags struct {
	name, version, action string
	priority              int
	command               []string
	storePath             string
	timeLimit             time.Duration
	env, exitCodes        []string
	detectSoftware        string
	detectFile            string
	detectCommand         []string
	os, arch              []string
	minDisk, minMemory    int64
	minAgent              string
	attempts              int
	retryDelay            time.Duration
	rerunSafe             bool
	cleanBoot, private    bool
}

func (f *specFlags) register(s *pflag.FlagSet) {
	s.StringVar(&f.name, "name", "", "package `name`")
	s.StringVar(&f.version, "version", "", "package `version`")
	s.StringVar(&f.action, "action", "", "launch, execute or store")
	s.IntVar(&f.priority, "priority", instruction.DefaultPriority, "0 (first, holds back all others) to 10")
	s.StringArrayVar(&f.command, "command", nil, "one `argument` of the command, repeatable; or write the command after --")
	s.StringVar(&f.storePath, "store-path", "", "absolute `directory` on the device, for store")
	s.DurationVar(&f.timeLimit, "time-limit", instruction.DefaultLimit, "of the command")
	s.StringArrayVar(&f.env, "env", nil, "`NAME=VALUE` in the command's environment, repeatable")
	s.StringArrayVar(&f.exitCodes, "exit-code", nil, "`CODE=OUTCOME`, success, reboot, retry or failure, repeatable")
	s.StringVar(&f.detectSoftware, "detect-software", "", "installed if the device lists `NAME[=VERSION]`")
	s.StringVar(&f.detectFile, "detect-file", "", "installed if `PATH[=SHA256]` exists")
	s.StringArrayVar(&f.detectCommand, "detect-command", nil, "installed if this exits 0; one `argument` each, repeatable")
	s.StringSliceVar(&f.os, "os", nil, "only for these systems: linux, windows, darwin")
	s.StringSliceVar(&f.arch, "arch", nil, "only for these architectures: amd64, arm64, …")
	s.Int64Var(&f.minDisk, "min-disk", 0, "only with so many free `bytes`")
	s.Int64Var(&f.minMemory, "min-memory", 0, "only with so many `bytes` of memory")
	s.StringVar(&f.minAgent, "min-agent", "", "only for agents of this `version` or newer")
	s.IntVar(&f.attempts, "attempts", 0, "attempts in all when the exit code says failure")
	s.DurationVar(&f.retryDelay, "retry-delay", 30*time.Second, "before the second attempt; doubles")
	s.BoolVar(&f.rerunSafe, "rerun-safe", false, "an interrupted attempt may be run again")
	s.BoolVar(&f.cleanBoot, "needs-clean-boot", false, "waits until no reboot is pending")
	s.BoolVar(&f.private, "private", false, "contents only for enrolled devices, never shared")
}

// request turns the flags into what the server is asked for. The full check is instruction.Build's.
func (f *specFlags) request(c *cobra.Command, after []string) (client.NewPackage, error) {
	p := client.NewPackage{
		Name: f.name, Version: f.version, Priority: &f.priority, Action: instruction.Action(f.action), Command: f.command,
		StorePath: f.storePath, NeedsCleanBoot: f.cleanBoot, Private: f.private,
	}
	switch {
	case f.name == "":
		return p, usage("say --name NAME")
	case f.version == "":
		return p, usage("say --version VERSION")
	case f.action == "":
		return p, usage("say --action launch, execute or store")
	case len(after) > 0 && len(f.command) > 0:
		return p, usage("write the command either after -- or with --command, not both")
	case len(after) > 0:
		p.Command = after
	}
	if f.timeLimit%time.Second != 0 {
		return p, usage("--time-limit %s is not in whole seconds", f.timeLimit)
	}
	p.TimeLimitSeconds = int(f.timeLimit / time.Second)
	if p.Action == instruction.Launch && len(p.Command) > 0 {
		// "./setup.sh" is what people write; the document names the file as the archive does.
		p.Command = append([]string{path.Clean(p.Command[0])}, p.Command[1:]...)
	}
	if f.rerunSafe {
		p.Rerun = instruction.RerunSafe
	}
	if f.attempts > 0 {
		p.Retry = &instruction.Retry{Attempts: f.attempts, DelaySeconds: int(f.retryDelay / time.Second)}
	} else if c.Flags().Changed("retry-delay") {
		return p, usage("--retry-delay needs --attempts")
	}
	if err := f.tables(&p); err != nil {
		return p, err
	}
	return p, f.conditions(&p)
}

func (f *specFlags) tables(p *client.NewPackage) error {
	for _, kv := range f.env {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return usage("--env %q is not NAME=VALUE", kv)
		}
		if p.Env == nil {
			p.Env = map[string]string{}
		}
		p.Env[k] = v
	}
	for _, s := range f.exitCodes {
		code, outcome, ok := strings.Cut(s, "=")
		n, err := strconv.Atoi(code)
		if !ok || err != nil {
			return usage("--exit-code %q is not CODE=OUTCOME", s)
		}
		p.ExitCodes = append(p.ExitCodes, instruction.ExitCode{Code: n, Outcome: instruction.Outcome(outcome)})
	}
	return nil
}

func (f *specFlags) conditions(p *client.NewPackage) error {
	if len(f.os) > 0 || len(f.arch) > 0 || f.minDisk > 0 || f.minMemory > 0 || f.minAgent != "" {
		p.Requires = &instruction.Requirements{OS: f.os, Arch: f.arch, MinDiskBytes: f.minDisk, MinMemoryBytes: f.minMemory, MinAgent: f.minAgent}
	}
	rules := 0
	if f.detectSoftware != "" {
		rules++
		name, version, _ := strings.Cut(f.detectSoftware, "=")
		p.Detect = &instruction.Detection{Software: &instruction.SoftwareRule{Name: name, Version: version}}
	}
	if f.detectFile != "" {
		rules++
		file, digest := f.detectFile, ""
		if i := strings.LastIndex(file, "="); i >= 0 {
			file, digest = file[:i], file[i+1:]
		}
		p.Detect = &instruction.Detection{File: &instruction.FileRule{Path: file, SHA256: digest}}
	}
	if len(f.detectCommand) > 0 {
		rules++
		p.Detect = &instruction.Detection{Command: f.detectCommand}
	}
	if rules > 1 {
		return usage("give one of --detect-software, --detect-file and --detect-command")
	}
	return nil
}

// specOf is the author's Spec of a package on the server, by its id.
func specOf(id string, p client.NewPackage) instruction.Spec {
	return instruction.Spec{
		ID: id, Name: p.Name, Version: p.Version, Priority: p.Priority, Action: p.Action, Command: p.Command,
		StorePath: p.StorePath, TimeLimitSeconds: p.TimeLimitSeconds, Env: p.Env, ExitCodes: p.ExitCodes, Detect: p.Detect,
		Requires: p.Requires, Retry: p.Retry, Rerun: p.Rerun, NeedsCleanBoot: p.NeedsCleanBoot, Private: p.Private,
	}
}
