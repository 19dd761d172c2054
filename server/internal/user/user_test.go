package user_test

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
	"github.com/muster/muster/server/internal/user"
)

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newService(t *testing.T, db *store.DB) (*user.Service, *clock, string) {
	t.Helper()
	c := &clock{now: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)}
	s := user.New(user.Options{DB: db, Log: slog.New(slog.DiscardHandler), Now: c.Now})
	password, err := s.EnsureAdmin(t.Context())
	require.NoError(t, err)
	require.Len(t, password, 23)
	return s, c, password
}

func TestEnsureAdmin_oncePerDatabase(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		passwords := make(chan string, 4)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				s := user.New(user.Options{DB: db, Log: slog.New(slog.DiscardHandler)})
				p, err := s.EnsureAdmin(t.Context())
				if err != nil {
					p = "error: " + err.Error()
				}
				passwords <- p
			})
		}
		wg.Wait()
		close(passwords)
		made := ""
		for p := range passwords {
			require.NotContains(t, p, "error")
			if p != "" {
				require.Empty(t, made, "two servers made an admin")
				made = p
			}
		}
		s := user.New(user.Options{DB: db, Log: slog.New(slog.DiscardHandler)})
		_, err := s.Login(t.Context(), " ADMIN ", made, "192.0.2.1")
		require.NoError(t, err, "names know no case")
	})
}

func TestLogin_wrongIsSlowAndRightIsNot(t *testing.T) {
	t.Parallel()
	s, c, password := newService(t, storetest.Open(t, store.SQLite))
	ctx := t.Context()
	for range 30 {
		_, err := s.Login(ctx, "admin", password, "192.0.2.1")
		require.NoError(t, err)
	}
	for i := range 10 {
		name := []string{"admin", "nobody"}[i%2]
		_, err := s.Login(ctx, name, "wrong", "192.0.2.1")
		require.Equal(t, fault.Unauthenticated, fault.CodeOf(err))
		require.EqualError(t, err, "user name or password is wrong", "a name is not given away")
	}
	for range 5 {
		_, err := s.Login(ctx, "admin", "wrong", "192.0.2.1")
		require.Equal(t, fault.Unauthenticated, fault.CodeOf(err))
	}
	_, err := s.Login(ctx, "admin", password, "192.0.2.1")
	require.Equal(t, fault.TooMany, fault.CodeOf(err))
	_, err = s.Login(ctx, "admin", password, "192.0.2.2")
	require.NoError(t, err, "another address is not punished")
	c.advance(time.Minute)
	_, err = s.Login(ctx, "admin", password, "192.0.2.1")
	require.NoError(t, err)
}

func TestLogin_manyNamesFromOneAddress(t *testing.T) {
	t.Parallel()
	s, _, password := newService(t, storetest.Open(t, store.SQLite))
	tooMany := 0
	for i := range 60 {
		if _, err := s.Login(t.Context(), fmt.Sprint("user", i), "wrong", "192.0.2.1"); fault.Is(err, fault.TooMany) {
			tooMany++
		}
	}
	require.Equal(t, 10, tooMany)
	_, err := s.Login(t.Context(), "admin", password, "192.0.2.1")
	require.Equal(t, fault.TooMany, fault.CodeOf(err))
}

// Who has a whole network of addresses, or no end of names, still has as many guesses as anybody.
func TestLogin_limitCannotBeWalkedAround(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(i int) string{
		"IPv6 network":   func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) },
		"mapped IPv4":    func(i int) string { return []string{"192.0.2.1", "::ffff:192.0.2.1"}[i%2] },
		"cannot be told": func(i int) string { return fmt.Sprint("?", i) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _, _ := newService(t, storetest.Open(t, store.SQLite))
			guesses := 0
			for i := range 40 {
				if _, err := s.Login(t.Context(), "admin", "wrong", address(i)); fault.Is(err, fault.Unauthenticated) {
					guesses++
				}
			}
			require.Equal(t, 10, guesses)
		})
	}
	t.Run("names", func(t *testing.T) {
		t.Parallel()
		s, _, password := newService(t, storetest.Open(t, store.SQLite))
		guesses := 0
		for i := range 25_000 { // more than names are remembered
			if _, err := s.Login(t.Context(), fmt.Sprint("user", i), "wrong", "192.0.2.1"); fault.Is(err, fault.Unauthenticated) {
				guesses++
			}
		}
		require.Equal(t, 50, guesses)
		_, err := s.Login(t.Context(), "admin", password, "192.0.2.1")
		require.Equal(t, fault.TooMany, fault.CodeOf(err))
	})
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, c, password := newService(t, db)
		ctx := t.Context()
		u, err := s.Login(ctx, "admin", password, "")
		require.NoError(t, err)
		c.advance(time.Second)
		require.Equal(t, fault.Forbidden, fault.CodeOf(s.ChangePassword(ctx, u.ID, "wrong", "a new password", "")))
		require.Equal(t, fault.Invalid, fault.CodeOf(s.ChangePassword(ctx, u.ID, password, "short", "")))
		require.Equal(t, fault.Invalid, fault.CodeOf(s.ChangePassword(ctx, u.ID, password, password, "")))
		require.NoError(t, s.ChangePassword(ctx, u.ID, password, "a new password", ""))
		_, err = s.Login(ctx, "admin", password, "")
		require.Error(t, err)
		u, err = s.Login(ctx, "admin", "a new password", "")
		require.NoError(t, err)
		require.Equal(t, c.Now(), u.SessionsFrom.UTC())
	})
}

func TestResetPassword(t *testing.T) {
	t.Parallel()
	s, _, old := newService(t, storetest.Open(t, store.SQLite))
	next, err := s.ResetPassword(t.Context(), "Admin")
	require.NoError(t, err)
	require.NotEqual(t, old, next)
	_, err = s.Login(t.Context(), "admin", next, "")
	require.NoError(t, err)
	_, err = s.ResetPassword(t.Context(), "nobody")
	require.Equal(t, fault.NotFound, fault.CodeOf(err))
}

func TestTokens_pagedAndDeletedByTheirOwner(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, _, password := newService(t, db)
		ctx := t.Context()
		u, err := s.Login(ctx, "admin", password, "")
		require.NoError(t, err)
		for i := range 5 {
			token, text, err := s.CreateToken(ctx, u.ID, fmt.Sprint("token ", i), i)
			require.NoError(t, err)
			require.Regexp(t, `^mapi_[0-9a-f]{64}$`, text)
			require.NotContains(t, text, token.Hash)
		}
		var names []string
		p := api.PageParams{Limit: 2}
		for {
			rows, err := s.Tokens(ctx, u.ID, p)
			require.NoError(t, err)
			page := api.NewPage(rows, p, func(r user.APIToken) []string { return []string{r.ID} })
			for _, r := range page.Items {
				names = append(names, r.Name)
			}
			if p.Cursor = page.Next; p.Cursor == "" {
				break
			}
		}
		require.Equal(t, []string{"token 4", "token 3", "token 2", "token 1", "token 0"}, names)
		rows, err := s.Tokens(ctx, u.ID, api.PageParams{})
		require.NoError(t, err)
		require.Equal(t, fault.NotFound, fault.CodeOf(s.DeleteToken(ctx, "somebody else", rows[0].ID)))
		require.NoError(t, s.DeleteToken(ctx, u.ID, rows[0].ID))
		require.Equal(t, fault.NotFound, fault.CodeOf(s.DeleteToken(ctx, u.ID, rows[0].ID)))
	})
}
