// Package e2e_test drives the real programs as an operator would: it builds muster-server,
// muster-agent and muster, starts them on 127.0.0.1 over real TLS, and looks only at what they answer,
// write and exit with.
//
// Nothing here imports server or agent code. A test that cannot run on this computer is skipped with
// its reason; with CI=true that is a failure.
//
// A file is named for its topic; where there are several, the one of the bare name has the tests. What all
// of them stand on:
//
//	main, process, mariadb   programs and databases: build, start, wait for a state
//	server, agent            one of each, as an administrator and as its own computer sees it
//	deployment, command      packages and what becomes of them, by the API and by the command line
//	archive, forge, proxy    archives, signatures of any kind, something between agent and server
//
// The topics that need more than one file:
//
//	chaos     everything is killed wherever something is written down; scripts/chaos has the points and the judge
//	control   who ends, retries and restarts, and when
//	enemy     a server in an enemy's hands: each file adds ways, enemy_server_test.go is the enemy
//	identity  enrollment, secrets, copies of a device
//	network   agents in network namespaces of their own, on lines that are cut, slow or lead elsewhere
//	resident  what the waiting agent costs
//	tamper    what passes between server and device is changed on the way
package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

var (
	programs string // folder of the built programs
	scratch  string // folder of this run, removed at its end
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	work, err := os.MkdirTemp("", "muster-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(work)
	scratch = work
	programs = os.Getenv("MUSTER_BIN")
	if programs == "" {
		programs = work
		if err := build(work); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	defer stopMariaDB()
	return m.Run()
}

// build makes the three programs; the web page inside is whatever was built last.
func build(dir string) error {
	for name, source := range map[string]string{"muster-server": "./server", "muster-agent": "./agent", "muster": "./packages/muster"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), source)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

func program(name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(programs, name)
}
