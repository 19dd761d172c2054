package proc

import "path/filepath"

// runnerMark is in the environment of every runner, so that ending a task's processes spares them.
const runnerMark = "MUSTER_RUNNER=1"

// environ is the whole environment of a child: a small base and what the caller adds, which wins. The
// agent's own environment is not passed on: it may hold secrets, or settings (LD_PRELOAD, a user's PATH)
// of whoever happened to start the agent.
func environ(extra []string) []string {
	return append(baseEnviron(), extra...)
}

// absolute makes a command's folder absolute, because runners live in the root folder. No folder stays
// none: the command then runs in the root folder.
func absolute(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	return filepath.Abs(dir)
}
