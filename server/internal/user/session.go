package user

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/api"
)

// Keys in a session.
const (
	keyUser  = "user"
	keyBegun = "begun"
)

// CookieName is the session cookie's name. Cookies know no ports: the plain listener for the same
// computer has its own name, so that it cannot disturb a login over TLS.
func CookieName(tls bool) string {
	if tls {
		return api.SessionCookie
	}
	return api.SessionCookie + "_local"
}

// begin starts a session for u in the request's session context and returns its cookie.
func (s *Service) begin(ctx context.Context, u User, tls bool) (http.Cookie, error) {
	// A new token at each login: one that was planted before is worth nothing.
	if err := s.sessions.RenewToken(ctx); err != nil {
		return http.Cookie{}, fmt.Errorf("begin session: %w", err)
	}
	s.sessions.Put(ctx, keyUser, u.ID)
	s.sessions.Put(ctx, keyBegun, s.now().UnixMilli())
	token, expiry, err := s.sessions.Commit(ctx)
	if err != nil {
		return http.Cookie{}, fmt.Errorf("keep session: %w", err)
	}
	return cookie(token, expiry, tls), nil
}

// end destroys the request's session and returns the cookie that makes the browser forget it.
func (s *Service) end(ctx context.Context, tls bool) (http.Cookie, error) {
	if err := s.sessions.Destroy(ctx); err != nil {
		return http.Cookie{}, fmt.Errorf("end session: %w", err)
	}
	c := cookie("", time.Unix(1, 0), tls)
	c.MaxAge = -1
	return c, nil
}

func cookie(token string, expiry time.Time, tls bool) http.Cookie {
	return http.Cookie{
		Name: CookieName(tls), Value: token, Path: "/", Expires: expiry.UTC(), Secure: tls,
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// Load gives the request its session and, when somebody is known by cookie or bearer token, its actor.
// A wrong credential is nobody; only trouble with the database is an error.
func (s *Service) Load(r *http.Request) (context.Context, error) {
	value := ""
	if c, err := r.Cookie(CookieName(r.TLS != nil)); err == nil && len(c.Value) <= 128 {
		value = c.Value
	}
	ctx, err := s.sessions.Load(r.Context(), value)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the session could not be read; try again")
	}
	actor, err := s.identify(ctx, r.Header.Get("Authorization"))
	if err != nil || actor == nil {
		return ctx, err
	}
	api.ExchangeFrom(ctx).SetActor(actor.Kind, actor.Name)
	return NewContext(ctx, *actor), nil
}

// identify prefers the header: who sends one means it.
func (s *Service) identify(ctx context.Context, authorization string) (*Actor, error) {
	if authorization != "" {
		return s.byToken(ctx, authorization)
	}
	id := s.sessions.GetString(ctx, keyUser)
	if id == "" {
		return nil, nil
	}
	u, err := s.store.byID(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if s.sessions.GetInt64(ctx, keyBegun) < u.SessionsFrom.UnixMilli() {
		return nil, nil
	}
	return &Actor{Kind: KindSession, UserID: u.ID, Name: u.Username}, nil
}

// Valid reports whether the credential of a request that was let in earlier still counts: for
// connections that outlive their request.
func (s *Service) Valid(ctx context.Context, r *http.Request) bool {
	ctx, err := s.Load(r.Clone(ctx))
	return err == nil && Require(ctx) == nil
}
