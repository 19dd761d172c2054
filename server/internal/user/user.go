// Package user knows who may use the admin API: people with a password and a session cookie, programs
// with an API token. httpapi asks it for the Actor of each request; cli makes the first admin.
//
// Of passwords only argon2id hashes are kept, of session cookies and API tokens only SHA-256 hashes.
// A password change is one transaction that also ends every older session; after a crash both have
// happened or neither.
package user

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/google/uuid"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/throttle"
)

// Admin is the name of the first user.
const Admin = "admin"

// Limits of a password, in bytes.
const (
	MinPassword = 12
	MaxPassword = 256
)

// sessionLifetime is how long a login lasts.
const sessionLifetime = 24 * time.Hour

// User is somebody who may log in.
type User struct {
	ID           string
	Username     string
	PasswordHash string
	SessionsFrom time.Time // sessions begun before are over
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Options are what New needs.
type Options struct {
	DB  *store.DB
	Log *slog.Logger
	Now func() time.Time // store.Now when nil
}

// Service holds users, sessions and API tokens.
type Service struct {
	store    *users
	sessions *scs.SessionManager
	hashing  *hasher
	attempts *throttle.Throttle
	log      *slog.Logger
	now      func() time.Time
}

// New makes the service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = store.Now
	}
	st := &users{db: o.DB}
	sm := scs.New()
	sm.Store = &sessionStore{db: o.DB, now: o.Now}
	sm.Lifetime = sessionLifetime
	sm.HashTokenInStore = true
	return &Service{store: st, sessions: sm, hashing: newHasher(), attempts: throttle.New(refill), log: o.Log, now: o.Now}
}

// EnsureAdmin makes the first admin when there is no user yet and returns the generated password;
// empty when somebody was there already. Of several servers that start at once one makes it.
func (s *Service) EnsureAdmin(ctx context.Context) (password string, err error) {
	n, err := s.store.count(ctx)
	if err != nil || n > 0 {
		return "", err
	}
	password, err = generatePassword()
	if err != nil {
		return "", err
	}
	hash, err := s.hashing.hash(ctx, password)
	if err != nil {
		return "", err
	}
	now := s.now()
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make user id: %w", err)
	}
	err = s.store.create(ctx, User{ID: id.String(), Username: Admin, PasswordHash: hash, SessionsFrom: now, CreatedAt: now, UpdatedAt: now})
	if fault.Is(err, fault.Conflict) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return password, nil
}

// ResetPassword gives a user a new generated password and ends the user's sessions.
func (s *Service) ResetPassword(ctx context.Context, username string) (password string, err error) {
	u, err := s.store.byName(ctx, normal(username))
	if err != nil {
		return "", err
	}
	if password, err = generatePassword(); err != nil {
		return "", err
	}
	return password, s.setPassword(ctx, u.ID, password)
}

// How much a stranger may fail.
const (
	perAddress = 50              // failures at once
	perName    = 10              // failures at once, per address and name
	refill     = 6 * time.Second // one more
)

// guesses is what failures of an address at a name are counted in.
func guesses(remote, name string) []throttle.Bucket {
	network := throttle.Network(remote)
	return []throttle.Bucket{{Key: network, Size: perAddress}, {Key: network + "|" + name, Size: perName}}
}

// Login checks a password. Failures are slow to repeat: per address and name, and per address.
func (s *Service) Login(ctx context.Context, username, password, remote string) (User, error) {
	name := normal(username)
	buckets := guesses(remote, name)
	wrong := fault.New(fault.Unauthenticated, "user name or password is wrong")
	if !s.attempts.Take(s.now(), buckets...) {
		return User{}, fault.New(fault.TooMany, "too many failed logins from this address; wait a minute")
	}
	u, err := s.store.byName(ctx, name)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return User{}, err
	}
	// An unknown name takes as long as a wrong password, so that names cannot be found out.
	ok, herr := s.hashing.verify(ctx, password, u.PasswordHash)
	if herr != nil {
		s.attempts.Give(buckets...)
		return User{}, herr
	}
	if err != nil || !ok {
		s.log.WarnContext(ctx, "login failed", "user", name, "remote", remote)
		return User{}, wrong
	}
	s.attempts.Give(buckets...)
	return u, nil
}

// ChangePassword replaces a user's password, whose present one must be given, and ends the user's
// other sessions.
func (s *Service) ChangePassword(ctx context.Context, userID, current, next, remote string) error {
	u, err := s.store.byID(ctx, userID)
	if err != nil {
		return err
	}
	if _, err := s.Login(ctx, u.Username, current, remote); err != nil {
		if fault.Is(err, fault.Unauthenticated) {
			return fault.Wrap(fault.Field("body.current", "the present password is wrong"), fault.Forbidden, "the password was not changed")
		}
		return err
	}
	if current == next {
		return fault.Field("body.new", "the new password is the old one")
	}
	return s.setPassword(ctx, u.ID, next)
}

func (s *Service) setPassword(ctx context.Context, userID, password string) error {
	if len(password) < MinPassword || len(password) > MaxPassword {
		return fault.Field("body.new", "a password has %d to %d bytes", MinPassword, MaxPassword)
	}
	hash, err := s.hashing.hash(ctx, password)
	if err != nil {
		return err
	}
	return s.store.setPassword(ctx, userID, hash, s.now())
}

// RunCleanup removes ended sessions and expired API tokens now and then, until ctx ends.
func (s *Service) RunCleanup(ctx context.Context) {
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	for {
		if err := s.store.cleanup(ctx, s.now()); err != nil && !errors.Is(err, context.Canceled) {
			s.log.ErrorContext(ctx, "sessions were not cleaned up", "err", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// normal is the form in which names are kept and compared.
func normal(username string) string { return strings.ToLower(strings.TrimSpace(username)) }

// generatePassword makes one of 100 bits in letters and digits that are not confused.
func generatePassword() (string, error) {
	var b [15]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("generate password: %w", err)
	}
	s := strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))[:20]
	return s[:5] + "-" + s[5:10] + "-" + s[10:15] + "-" + s[15:], nil
}
