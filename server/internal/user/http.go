package user

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/api"
)

// API is the operations about oneself.
type API struct{ Service *Service }

// Me is who is asking.
type Me struct {
	Username string `json:"username"`
	Kind     string `json:"kind" enum:"session,token"`
}

// Caller is embedded in inputs that need to know where a request came from.
type Caller struct {
	tls    bool
	remote string
}

// Resolve reads the connection, for huma.
func (c *Caller) Resolve(ctx huma.Context) []error {
	c.tls = ctx.TLS() != nil
	c.remote = humaecho.UnwrapV4(ctx).RealIP()
	if c.remote == "" {
		c.remote, _, _ = net.SplitHostPort(ctx.RemoteAddr())
	}
	return nil
}

type loginInput struct {
	Caller
	Body struct {
		Username string `json:"username" minLength:"1" maxLength:"120"`
		Password string `json:"password" minLength:"1" maxLength:"256"`
	}
}

type meOutput struct{ Body Me }

type loginOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      Me
}

type cookieOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

type passwordInput struct {
	Caller
	Body struct {
		Current string `json:"current" minLength:"1" maxLength:"256"`
		New     string `json:"new" minLength:"12" maxLength:"256"`
	}
}

// Register adds the operations.
func (a *API) Register(h huma.API) {
	api.Register(h, huma.Operation{
		OperationID: "login", Method: http.MethodPost, Path: "/login", Tags: []string{"Account"},
		Summary: "Log in with name and password", Security: api.Public(),
		Errors: []int{400, 401, 403, 429, 500, 503},
	}, a.login)
	api.Register(h, huma.Operation{
		OperationID: "logout", Method: http.MethodPost, Path: "/logout", Tags: []string{"Account"},
		Summary: "End this session", DefaultStatus: http.StatusNoContent,
	}, a.logout)
	api.Register(h, huma.Operation{
		OperationID: "get-me", Method: http.MethodGet, Path: "/me", Tags: []string{"Account"}, Summary: "Who am I",
	}, a.me)
	api.Register(h, huma.Operation{
		OperationID: "change-password", Method: http.MethodPost, Path: "/me/password", Tags: []string{"Account"},
		Summary: "Change my password and end my other sessions", DefaultStatus: http.StatusNoContent,
	}, a.password)
	a.registerTokens(h)
}

func (a *API) login(ctx context.Context, in *loginInput) (*loginOutput, error) {
	// Login happens before there is an actor; the audit trail shows who tried.
	api.ExchangeFrom(ctx).SetActor(KindSession, normal(in.Body.Username))
	u, err := a.Service.Login(ctx, in.Body.Username, in.Body.Password, in.remote)
	if err != nil {
		return nil, err
	}
	c, err := a.Service.begin(ctx, u, in.tls)
	if err != nil {
		return nil, err
	}
	return &loginOutput{SetCookie: c, Body: Me{Username: u.Username, Kind: KindSession}}, nil
}

func (a *API) logout(ctx context.Context, in *struct{ Caller }) (*cookieOutput, error) {
	c, err := a.Service.end(ctx, in.tls)
	if err != nil {
		return nil, err
	}
	return &cookieOutput{SetCookie: c}, nil
}

func (a *API) me(ctx context.Context, _ *struct{}) (*meOutput, error) {
	actor := FromContext(ctx)
	return &meOutput{Body: Me{Username: actor.Name, Kind: actor.Kind}}, nil
}

// password keeps the session that asked, under a new token.
func (a *API) password(ctx context.Context, in *passwordInput) (*passwordOutput, error) {
	actor := FromContext(ctx)
	if err := a.Service.ChangePassword(ctx, actor.UserID, in.Body.Current, in.Body.New, in.remote); err != nil {
		return nil, err
	}
	if actor.Kind != KindSession {
		return &passwordOutput{}, nil
	}
	c, err := a.Service.begin(ctx, User{ID: actor.UserID, Username: actor.Name}, in.tls)
	if err != nil {
		return nil, err
	}
	return &passwordOutput{SetCookie: []http.Cookie{c}}, nil
}

type passwordOutput struct {
	SetCookie []http.Cookie `header:"Set-Cookie"`
}

// Token is an API token without its text.
type Token struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty" doc:"to the minute"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
}

// NewToken is an API token with its text, shown once.
type NewToken struct {
	Token
	Text string `json:"token" doc:"shown this once"`
}

func tokenOf(t APIToken) Token {
	return Token{ID: t.ID, Name: t.Name, CreatedAt: t.CreatedAt, LastUsedAt: t.LastUsedAt, ExpiresAt: t.ExpiresAt}
}

type createTokenInput struct {
	Body struct {
		Name          string `json:"name" minLength:"1" maxLength:"120"`
		ExpiresInDays int    `json:"expires_in_days,omitempty" minimum:"1" maximum:"3650" doc:"for ever when absent"`
	}
}

type tokenOutput struct{ Body NewToken }

type tokenPath struct {
	ID string `path:"id" maxLength:"36"`
}

func (a *API) registerTokens(h huma.API) {
	api.Register(h, huma.Operation{
		OperationID: "list-api-tokens", Method: http.MethodGet, Path: "/api-tokens", Tags: []string{"API tokens"},
		Summary: "List my API tokens, newest first",
	}, a.tokens)
	api.Register(h, huma.Operation{
		OperationID: "create-api-token", Method: http.MethodPost, Path: "/api-tokens", Tags: []string{"API tokens"},
		Summary: "Make an API token", DefaultStatus: http.StatusCreated, Errors: []int{400, 401, 403, 409, 429, 500, 503},
	}, a.createToken)
	api.Register(h, huma.Operation{
		OperationID: "delete-api-token", Method: http.MethodDelete, Path: "/api-tokens/{id}", Tags: []string{"API tokens"},
		Summary: "End an API token", DefaultStatus: http.StatusNoContent, Errors: []int{400, 401, 403, 404, 429, 500, 503},
	}, a.deleteToken)
}

func (a *API) tokens(ctx context.Context, in *struct{ api.PageParams }) (*struct{ Body api.Page[Token] }, error) {
	rows, err := a.Service.Tokens(ctx, FromContext(ctx).UserID, in.PageParams)
	if err != nil {
		return nil, err
	}
	items := make([]Token, len(rows))
	for i, r := range rows {
		items[i] = tokenOf(r)
	}
	page := api.NewPage(items, in.PageParams, func(t Token) []string { return []string{t.ID} })
	return &struct{ Body api.Page[Token] }{Body: page}, nil
}

func (a *API) createToken(ctx context.Context, in *createTokenInput) (*tokenOutput, error) {
	actor := FromContext(ctx)
	if actor.UserID == "" {
		return nil, fault.New(fault.Forbidden, "only a user has API tokens")
	}
	t, text, err := a.Service.CreateToken(ctx, actor.UserID, in.Body.Name, in.Body.ExpiresInDays)
	if err != nil {
		return nil, err
	}
	api.ExchangeFrom(ctx).SetTarget(t.ID)
	return &tokenOutput{Body: NewToken{Token: tokenOf(t), Text: text}}, nil
}

func (a *API) deleteToken(ctx context.Context, in *tokenPath) (*struct{}, error) {
	return nil, a.Service.DeleteToken(ctx, FromContext(ctx).UserID, in.ID)
}
