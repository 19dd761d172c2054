// Package e2e_test drives the real programs as an operator would: it builds muster-server,
// muster-agent and muster, starts them on 127.0.0.1 over real TLS, and looks only at what they answer,
// write and exit with.
//
// Nothing here imports server or agent code. A test that cannot run on this computer is skipped with
// its reason; with CI=true that is a failure.
package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// programs is the folder of the built programs.
var programs string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	work, err := os.MkdirTemp("", "muster-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(work)
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

// unable ends a test that this computer cannot run.
func unable(t *testing.T, reason string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("cannot run here: "+reason, args...)
	}
	t.Skipf("cannot run here: "+reason, args...)
}
