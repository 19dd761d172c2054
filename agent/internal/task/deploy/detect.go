package deploy

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// detectLimit is how long a detection command may take.
const detectLimit = time.Minute

// dpkgStatus is Debian's list of installed packages.
const dpkgStatus = "/var/lib/dpkg/status"

// detectBefore ends the attempt when the package is there already. A rule that this device cannot
// evaluate is refused: running the package blindly is what the rule is there to prevent.
func (d *deployment) detectBefore(ctx context.Context) error {
	if d.doc.Detect == nil {
		return nil
	}
	found, err := d.detected(ctx)
	if fault.Is(err, fault.Unsupported) {
		return end(protocol.StateRefused, protocol.ReasonCritical, "%v", err)
	}
	if err != nil {
		return fmt.Errorf("detect: %w", err)
	}
	if found {
		return end(protocol.StateSucceeded, protocol.ReasonAlreadyInstalled, "already installed; nothing was run")
	}
	return nil
}

// detected evaluates the package's detection rule.
func (d *deployment) detected(ctx context.Context) (bool, error) {
	rule := d.doc.Detect
	switch {
	case rule.Software != nil:
		return detectSoftware(*rule.Software, dpkgStatus)
	case rule.File != nil:
		return detectFile(*rule.File)
	default:
		_, code, err := proc.Output(ctx, rule.Command, os.TempDir(), nil, detectLimit)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err != nil { // a program that is not there, or hangs, detects nothing
			d.log.Info("the detection command could not be run", "err", err)
			return false, nil
		}
		return code == 0, nil
	}
}

func detectSoftware(rule instruction.SoftwareRule, status string) (bool, error) {
	file, err := os.Open(status)
	if errors.Is(err, fs.ErrNotExist) {
		return false, fault.New(fault.Unsupported, "cannot tell whether %q is installed: detection by software name is implemented for Debian packages only, and this device (%s) has none", rule.Name, runtime.GOOS)
	}
	if err != nil {
		return false, fmt.Errorf("read the installed packages: %w", err)
	}
	defer file.Close()
	return dpkgInstalled(file, rule)
}

// dpkgInstalled looks for an installed package in dpkg's status format.
func dpkgInstalled(r io.Reader, rule instruction.SoftwareRule) (bool, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), 4<<20)
	var name, version string
	var installed bool
	match := func() bool {
		return installed && name == rule.Name && (rule.Version == "" || version == rule.Version)
	}
	for lines.Scan() {
		text := lines.Text()
		if text == "" {
			if match() {
				return true, nil
			}
			name, version, installed = "", "", false
			continue
		}
		key, value, _ := strings.Cut(text, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Package":
			name = value
		case "Version":
			version = value
		case "Status":
			installed = strings.HasSuffix(value, " installed")
		}
	}
	if err := lines.Err(); err != nil {
		return false, fmt.Errorf("read the installed packages: %w", err)
	}
	return match(), nil
}

func detectFile(rule instruction.FileRule) (bool, error) {
	file, err := os.Open(rule.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open %s: %w", rule.Path, err)
	}
	defer file.Close()
	if rule.SHA256 == "" {
		return true, nil
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return false, fmt.Errorf("read %s: %w", rule.Path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)) == rule.SHA256, nil
}
