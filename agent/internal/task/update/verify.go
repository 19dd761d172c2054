package update

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
)

// verify gets the signed release and decides whether this device may act on it.
func (u *updating) verify(ctx context.Context) error {
	id, err := u.store.Load()
	if err != nil {
		return err
	}
	doc, err := u.store.LoadTrust(id.RootKeyID)
	if err != nil {
		return u.kept(protocol.StateRefused, protocol.ReasonTrust, "%v", err)
	}
	envelope, err := u.envelope(ctx)
	if err != nil {
		return err
	}
	r, keys, err := doc.VerifyRelease(envelope)
	if err != nil {
		return err
	}
	if r.ID != u.task.ReleaseID || r.Version != u.task.Version {
		return u.kept(protocol.StateRefused, protocol.ReasonMismatch, "the release is %s (%s), the task names %s (%s)",
			r.Version, r.ID, u.task.Version, u.task.ReleaseID)
	}
	u.doc = r
	u.log.Debug("release verified", "keys", keys, "version", r.Version)
	return nil
}

// envelope is the signed envelope with the digest that the task names, from disk or from the server.
func (u *updating) envelope(ctx context.Context) ([]byte, error) {
	if data, err := os.ReadFile(u.path(envelopeFile)); err == nil && digest(data) == u.task.Release {
		return data, nil
	}
	data, err := u.client.Release(ctx, u.task.Release)
	if err != nil {
		if fault.Is(err, fault.TooLarge) {
			return nil, u.kept(protocol.StateRefused, protocol.ReasonMalformed, "%v", err)
		}
		return nil, u.wait(protocol.ReasonStalled, "fetch the release: %v", err)
	}
	if got := digest(data); got != u.task.Release {
		return nil, u.kept(protocol.StateRefused, protocol.ReasonMismatch, "the server sent a release with digest %.16s… for %.16s…", got, u.task.Release)
	}
	// Neither atomic nor synced: it is used only where its digest is right, and fetched again otherwise.
	if err := os.WriteFile(u.path(envelopeFile), data, 0o600); err != nil {
		return nil, fmt.Errorf("keep the envelope: %w", err)
	}
	return data, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// check finds the build for this computer, and whether this agent may become it.
func (u *updating) check(context.Context) error {
	if release.Compare(u.version(), u.doc.Version) == 0 {
		return u.final(protocol.StateSucceeded, protocol.ReasonDone, protocol.UpdateNotNeeded, "agent %s runs already", u.version())
	}
	var ok bool
	if u.build, ok = u.doc.Build(runtime.GOOS, runtime.GOARCH); !ok {
		return u.kept(protocol.StateNotApplicable, protocol.ReasonRequirements, "agent %s is for %s, this device is %s/%s",
			u.doc.Version, strings.Join(u.doc.Platforms(), ", "), runtime.GOOS, runtime.GOARCH)
	}
	if !u.doc.Follows(u.version()) {
		return u.kept(protocol.StateRefused, protocol.ReasonOlderVersion,
			"agent %s is older than %s, which runs, and is not signed to replace it", u.doc.Version, u.version())
	}
	if i := u.in.Program.Version; release.Compare(i, u.doc.Version) > 0 && !u.doc.Downgrades(i) {
		return u.kept(protocol.StateRefused, protocol.ReasonOlderVersion,
			"agent %s is older than %s, which is installed as %s, and is not signed to replace it", u.doc.Version, i, u.in.Program.Installed)
	}
	if _, err := os.Stat(u.in.Program.Installed); errors.Is(err, fs.ErrNotExist) {
		return u.kept(protocol.StateFailed, protocol.ReasonDeviceError, "%s is gone: it is needed to start another agent", u.in.Program.Installed)
	}
	return nil
}
