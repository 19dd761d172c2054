package proc

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// baseEnviron holds what programs of Windows need to run at all; none of it is secret.
func baseEnviron() []string {
	return from("SystemRoot", "SystemDrive", "windir", "ComSpec", "PATH", "PATHEXT", "TEMP", "TMP",
		"ProgramData", "ProgramFiles", "ProgramFiles(x86)", "ProgramW6432", "CommonProgramFiles",
		"CommonProgramFiles(x86)", "CommonProgramW6432", "ALLUSERSPROFILE", "PUBLIC", "USERPROFILE", "APPDATA",
		"LOCALAPPDATA", "COMPUTERNAME", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE", "OS")
}

// lookPath finds the program that a command names. A name without a separator is looked up in the
// agent's PATH, which is the child's as well unless its package sets another one.
func lookPath(name, dir string, _ []string) (string, error) {
	if strings.ContainsAny(name, `\/`) && !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	return exec.LookPath(name)
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
