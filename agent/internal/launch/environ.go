package launch

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/muster/muster/packages/buildinfo"
)

// Names in the environment by which a launcher tells the program that it starts who it is. They are not passed on
// to anything that the agent starts (see package proc).
const (
	envInstalled = "MUSTER_AGENT_INSTALLED" // version and path of the installed program, separated by a space
	envSlot      = "MUSTER_AGENT_SLOT"      // name of the slot that this program lies in
	envTrial     = "MUSTER_AGENT_TRIAL"     // id of the update task, while this program is on trial
	envLeash     = "MUSTER_AGENT_LEASH"     // this program ends when its standard input does
)

// Program says which of the programs runs.
type Program struct {
	// Installed is the program that service managers and people start; Version is that program's version.
	Installed string `json:"installed"`
	Version   string `json:"installed_version"`
	// Slot is the slot in the data directory that runs in its place; empty when it runs itself.
	Slot string `json:"slot,omitempty"`
	// Task is the update task for which this program is on trial; empty when it is not.
	Task string `json:"trial,omitempty"`
}

// Running says who this very process is.
func Running() (Program, error) {
	version, path, launched := strings.Cut(os.Getenv(envInstalled), " ")
	if launched && filepath.IsAbs(path) && slices.Contains(slots, os.Getenv(envSlot)) {
		return Program{Installed: path, Version: version, Slot: os.Getenv(envSlot), Task: os.Getenv(envTrial)}, nil
	}
	path, err := os.Executable()
	if err != nil {
		return Program{}, fmt.Errorf("find own program: %w", err)
	}
	// Linux says so when the file was replaced since, as by a package manager. The new one is the installed one.
	return Program{Installed: strings.TrimSuffix(path, " (deleted)"), Version: buildinfo.Version}, nil
}

// Leashed reports whether this process has a launcher as its parent, which speaks to the service manager.
func Leashed() bool { return os.Getenv(envLeash) != "" }

// AwaitRelease returns when the launcher wants this process to end, or has gone: its standard input ends then.
func AwaitRelease() { _, _ = io.Copy(io.Discard, os.Stdin) }

// environ is this process's environment without the names above, and with more.
func environ(more ...string) []string {
	own := slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains([]string{envInstalled, envSlot, envTrial, envLeash}, strings.ToUpper(name))
	})
	return append(own, more...)
}
