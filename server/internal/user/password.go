package user

import (
	"context"
	"fmt"
	"time"

	"github.com/alexedwards/argon2id"
	"golang.org/x/sync/semaphore"

	"github.com/muster/muster/packages/fault"
)

// hasher hashes passwords, few at a time: each takes 19 MiB and many milliseconds, which strangers can
// ask for.
type hasher struct {
	params argon2id.Params
	slots  *semaphore.Weighted
}

const (
	hashSlots = 4
	hashWait  = 5 * time.Second
)

func newHasher() *hasher {
	return &hasher{
		params: argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32},
		slots:  semaphore.NewWeighted(hashSlots),
	}
}

func (h *hasher) enter(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, hashWait)
	defer cancel()
	if err := h.slots.Acquire(wait, 1); err != nil {
		return fault.Wrap(err, fault.Unavailable, "too many logins at once; try again in a moment")
	}
	return nil
}

func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.slots.Release(1)
	hash, err := argon2id.CreateHash(password, &h.params)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

// nobody is the hash that the password of an unknown user is compared with: it takes the same time and
// is never right, since its key is not the hash of any text one could find.
const nobody = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func (h *hasher) verify(ctx context.Context, password, hash string) (bool, error) {
	if hash == "" {
		hash = nobody
	}
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer h.slots.Release(1)
	ok, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return false, fmt.Errorf("compare password: %w", err)
	}
	return ok, nil
}
