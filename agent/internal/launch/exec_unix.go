//go:build unix

package launch

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// replace executes the program in place of this one. It returns only when that is not possible.
func replace(ctx context.Context, path string, args, env []string) error {
	if ctx.Err() != nil {
		return ctx.Err() // a signal that was taken in would be lost
	}
	for giveUp := time.Now().Add(busyLimit); ; time.Sleep(busyTick) {
		err := syscall.Exec(path, append([]string{os.Args[0]}, args...), env)
		if !errors.Is(err, syscall.ETXTBSY) || time.Now().After(giveUp) {
			return &os.PathError{Op: "exec", Path: path, Err: err}
		}
	}
}

// A program that was just written is busy for as long as a child of its writer has not come to its own program.
const (
	busyLimit = 2 * time.Second
	busyTick  = 20 * time.Millisecond
)

func restart(p Program, args []string) error {
	return replace(context.Background(), p.Installed, args, environ())
}
