package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
)

// Where units lie: of administrators and of packages; and what is there while systemd runs.
const (
	unitPath   = "/etc/systemd/system/" + Name + ".service"
	wantsPath  = "/etc/systemd/system/multi-user.target.wants/" + Name + ".service"
	systemdRun = "/run/systemd/system"
)

var packageUnits = []string{"/usr/lib/systemd/system/" + Name + ".service", "/lib/systemd/system/" + Name + ".service"}

// commandLimit is longer than a stop may take by the unit.
const commandLimit = 2 * time.Minute

func runAs(ctx context.Context, run func(context.Context) error) error { return run(ctx) }

func install(ctx context.Context, o Options) error {
	if !runs() {
		return fault.New(fault.Unsupported, "systemd does not run here; let your service manager keep this running: %s run --data %s", o.Program, o.Data)
	}
	for _, path := range packageUnits {
		if _, err := os.Stat(path); err == nil {
			return fault.New(fault.Conflict, "a package has made it already (%s)", path)
		}
	}
	switch old, err := os.ReadFile(unitPath); {
	case err == nil && string(old) != unit(o):
		return fault.New(fault.Conflict, "%s is there already, for another program or data directory; remove it first", unitPath)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil:
		if err := atomicfile.Write(unitPath, []byte(unit(o)), 0o644); err != nil {
			return err
		}
	}
	if err := systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	return systemctl(ctx, "enable", "--now", Name+".service")
}

func uninstall(ctx context.Context, o Options) error {
	if !owns(ctx, o) {
		return nil
	}
	var errs []error
	if runs() {
		errs = append(errs, stop(ctx))
	}
	for _, path := range []string{wantsPath, unitPath} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if runs() {
		errs = append(errs, systemctl(ctx, "daemon-reload"))
	}
	return errors.Join(errs...)
}

func owns(_ context.Context, o Options) bool {
	text, err := os.ReadFile(unitPath)
	return err == nil && string(text) == unit(o)
}

func start(ctx context.Context) error {
	if !runs() {
		return ErrNone
	}
	return systemctl(ctx, "start", Name+".service")
}

func stop(ctx context.Context) error {
	if !runs() {
		return ErrNone
	}
	return systemctl(ctx, "stop", Name+".service")
}

func status(ctx context.Context) (State, error) {
	if !runs() {
		return Absent, ErrNone
	}
	out, _, err := proc.Output(ctx, []string{"systemctl", "show", "--property=LoadState,ActiveState", Name + ".service"}, "", nil, commandLimit)
	if err != nil {
		return "", err
	}
	switch text := string(out); {
	case !strings.Contains(text, "LoadState=loaded"):
		return Absent, nil
	case strings.Contains(text, "ActiveState=active"), strings.Contains(text, "ActiveState=activating"):
		return Running, nil
	default:
		return Stopped, nil
	}
}

// runs reports whether systemd runs this computer, see sd_booted(3).
func runs() bool {
	info, err := os.Stat(systemdRun)
	return err == nil && info.IsDir()
}

func systemctl(ctx context.Context, args ...string) error {
	_, code, err := proc.Output(ctx, append([]string{"systemctl", "--quiet"}, args...), "", nil, commandLimit)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("systemctl %s ended with exit code %d: see journalctl -u %s", strings.Join(args, " "), code, Name)
	}
	return nil
}
