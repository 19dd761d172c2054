package removal

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// removeProgram removes the agent's own program at the next start of Windows, which does not let go of one
// that runs.
func removeProgram(path string) error {
	name, err := windows.UTF16PtrFromString(path)
	if err == nil {
		err = windows.MoveFileEx(name, nil, windows.MOVEFILE_DELAY_UNTIL_REBOOT)
	}
	if err != nil {
		return fmt.Errorf("remove the program: %w", err)
	}
	return nil
}
