package identity

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// NameFor derives a server's folder name from its first address.
func NameFor(e protocol.Enrollment) string {
	u, err := url.Parse(e.URLs[0])
	if err != nil {
		return "server"
	}
	name := strings.Join(strings.FieldsFunc(strings.ToLower(u.Host), func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_'
	}), "-")
	name = strings.TrimLeft(name, ".-_")
	if name == "" {
		return "server"
	}
	return name[:min(len(name), 100)]
}

// Enroll makes this computer a device of the server that the enrollment string names. It may be called
// again after any failure or crash: nonce and secret are on disk before the server hears of them, and
// the server gives the same nonce the same device.
func Enroll(ctx context.Context, s *Store, e protocol.Enrollment, facts protocol.Facts) (Identity, string, error) {
	id, err := s.begin(e)
	if err != nil {
		return id, "", err
	}
	if id.CAPEM == "" {
		if id.CAPEM, err = client.LearnCA(ctx, id.URLs, id.CAFingerprint); err != nil {
			return id, "", fmt.Errorf("connect to the server: %w", err)
		}
		if err := s.Save(id); err != nil {
			return id, "", err
		}
	}
	c, err := client.New(client.Options{URLs: id.URLs, CAPEM: id.CAPEM})
	if err != nil {
		return id, "", err
	}
	defer c.Close()
	resp, err := c.Enroll(ctx, protocol.EnrollRequest{
		Protocol: protocol.Version, Token: id.Token, Nonce: id.Nonce,
		SecretSHA256: protocol.HashSecret(id.Secret), Facts: facts,
	})
	if err != nil {
		return id, "", fmt.Errorf("enroll: %w", err)
	}
	if len(resp.DeviceID) != 36 || strings.ContainsAny(resp.DeviceID, "_/\\") {
		return id, "", fault.New(fault.Invalid, "enroll: the server answers the device id %.40q, which is none", resp.DeviceID)
	}
	if _, err := s.AcceptTrust(id.RootKeyID, resp.Trust); err != nil {
		return id, "", fmt.Errorf("enroll: %w", err)
	}
	id.DeviceID, id.EnrolledAt, id.Token = resp.DeviceID, time.Now().UTC(), ""
	return id, resp.State, s.Save(id)
}

// begin returns the identity to enroll with: the one on disk when an earlier try was cut off, else a new
// one, persisted.
func (s *Store) begin(e protocol.Enrollment) (Identity, error) {
	id, err := s.Load()
	switch {
	case fault.Is(err, fault.NotFound):
		id = Identity{
			URLs: slices.Clone(e.URLs), CAFingerprint: e.CA, RootKeyID: e.Root, Token: e.Token,
			Nonce: Secret(), Secret: Secret(), SecretAt: time.Now().UTC(),
		}
		return id, s.Save(id)
	case err != nil:
		return id, err
	case id.Enrolled():
		return id, fault.New(fault.Conflict, "this device is already enrolled as %q (device %s); choose another --name, or remove %s first", s.name, id.DeviceID, filepath.Clean(s.dir))
	}
	if id.RootKeyID != e.Root || id.CAFingerprint != e.CA {
		// The earlier try was for another server of the same address: nothing was made there that we know.
		if err := os.RemoveAll(s.dir); err != nil {
			return id, fmt.Errorf("forget an unfinished enrollment: %w", err)
		}
		return s.begin(e)
	}
	id.URLs, id.Token = slices.Clone(e.URLs), e.Token
	return id, s.Save(id)
}
