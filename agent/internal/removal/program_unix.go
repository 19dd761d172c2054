//go:build unix

package removal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// removeProgram removes the agent's own program, which may be running.
func removeProgram(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the program: %w", err)
	}
	return nil
}
