//go:build unix

package proc

import (
	"errors"
	"os"
	"os/exec"
)

// passEvents makes file the child's descriptor 3.
func passEvents(cmd *exec.Cmd, file *os.File) error {
	cmd.ExtraFiles = []*os.File{file}
	return nil
}

// openEvents is the child's side of passEvents.
func openEvents() (*os.File, error) {
	file := os.NewFile(firstFile, "events")
	if file == nil {
		return nil, errors.New("descriptor 3 is not open")
	}
	if _, err := file.Stat(); err != nil {
		return nil, err
	}
	return file, nil
}
