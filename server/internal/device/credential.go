package device

import (
	"context"
	"crypto/subtle"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// Authenticate finds the device behind a bearer credential by one indexed read. Every failure is
// Unauthenticated and says no more than the caller knows. The first use of a secret that Rotate
// announced retires the one before.
func (s *Service) Authenticate(ctx context.Context, bearer string) (Device, error) {
	row, which, err := s.identified(ctx, bearer)
	if err != nil {
		return Device{}, err
	}
	return s.accept(ctx, row, which)
}

func (s *Service) accept(ctx context.Context, row deviceRow, which which) (Device, error) {
	switch which {
	case secretPrevious:
		return Device{}, errUnknown()
	case secretNext:
		if err := s.store.promote(ctx, row); err != nil {
			return Device{}, err
		}
		s.log.Info("device uses its next secret", "device", row.ID)
	}
	return row.device(), nil
}

// Admit is Authenticate for a check-in. A retired secret is let in there, for an agent never checks in with
// one by itself: the device was restored from an older copy, or there are two of it. That quarantines it. The
// retired secret opens nothing else until Approve makes it the present one: it may have been stolen.
func (s *Service) Admit(ctx context.Context, bearer string) (Device, error) {
	row, which, err := s.identified(ctx, bearer)
	if err != nil {
		return Device{}, err
	}
	if which != secretPrevious {
		return s.accept(ctx, row, which)
	}
	d := row.device()
	if d.State == protocol.DeviceQuarantined {
		return d, nil
	}
	return s.quarantine(ctx, d, evidence{secret: row.PreviousSHA256},
		"an older secret of this identity is used: approve it if the computer was restored from an older copy; else there are two, or the secret was stolen: revoke it and enroll it anew")
}

// which secret of a device a credential holds.
type which int

const (
	secretPresent which = iota
	secretNext
	secretPrevious
)

func errUnknown() error {
	return fault.New(fault.Unauthenticated, "unknown device or wrong secret")
}

// identified finds the device whose credential it is, unless it is revoked or removed, and which of its secrets.
func (s *Service) identified(ctx context.Context, bearer string) (deviceRow, which, error) {
	id, secret, ok := protocol.ParseCredential(bearer)
	if !ok {
		return deviceRow{}, 0, fault.New(fault.Unauthenticated, "a device's credential is needed")
	}
	row, err := s.store.credentials(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return deviceRow{}, 0, errUnknown()
	}
	if err != nil {
		return deviceRow{}, 0, err
	}
	hash := []byte(protocol.HashSecret(secret))
	found := which(-1)
	for w, kept := range []string{row.SecretSHA256, row.NextSHA256, row.PreviousSHA256} {
		if kept != "" && subtle.ConstantTimeCompare(hash, []byte(kept)) == 1 && found < 0 {
			found = which(w)
		}
	}
	switch {
	case found < 0:
		return deviceRow{}, 0, errUnknown()
	case row.State == protocol.DeviceRevoked:
		return deviceRow{}, 0, fault.New(fault.Unauthenticated, "this device has been revoked; enroll it again")
	case row.State == protocol.DeviceRemoved:
		return deviceRow{}, 0, fault.New(fault.Unauthenticated, "this device has been removed, as it was asked to; enroll it again")
	}
	return row, found, nil
}

// Rotate announces the hash of the device's next secret; the present one stays valid until the next
// one is used. Announcing again replaces what was announced before. A quarantined device is a Conflict.
func (s *Service) Rotate(ctx context.Context, id, nextSHA256 string) error {
	if !protocol.IsSHA256(nextSHA256) {
		return fault.Field("next_sha256", "must be 64 lower-case hex digits")
	}
	row, err := s.store.credentials(ctx, id)
	if err != nil {
		return err
	}
	if row.State == protocol.DeviceQuarantined { // else one copy could take the identity from the other
		return fault.New(fault.Conflict, "device %s is quarantined and changes no secret", id)
	}
	return s.store.announce(ctx, id, nextSHA256)
}
