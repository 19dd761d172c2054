package proc

import (
	"os"
	"path/filepath"
)

// runnerMark is in the environment of every runner, so that ending a task's processes spares them.
const runnerMark = "MUSTER_RUNNER=1"

// environ is the whole environment of a child: a small base and what the caller adds, which wins. The
// agent's own environment is not passed on: it may hold secrets, or settings (LD_PRELOAD, a user's PATH)
// of whoever happened to start the agent.
func environ(extra []string) []string {
	return append(baseEnviron(), extra...)
}

// from picks variables of the agent's environment by name.
func from(names ...string) []string {
	var env []string
	for _, name := range names {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// absolute makes a child's folder absolute, because runners live in the root folder.
func absolute(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	return filepath.Abs(dir)
}
