package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task/software"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// detectLimit is how long a detection command may take.
const detectLimit = time.Minute

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
		return detectSoftware(ctx, *rule.Software, software.Options{Log: d.log})
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

// detectSoftware looks into every list of installed software that the device has. The version is as its
// list writes it; of an rpm the epoch may be left out.
func detectSoftware(ctx context.Context, rule instruction.SoftwareRule, o software.Options) (bool, error) {
	rows, err := software.Installed(ctx, o, rule.Name)
	if err != nil {
		return false, fmt.Errorf("cannot tell whether %q is installed: %w", rule.Name, err)
	}
	return slices.ContainsFunc(rows, func(row protocol.Software) bool {
		ref, err := software.Parse(row.Key)
		return rule.Version == "" || rule.Version == row.Version || err == nil && rule.Version == ref.Version
	}), nil
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
