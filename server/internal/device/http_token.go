package device

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/audit"
	"github.com/muster/muster/server/internal/user"
)

// standardHours is how long a token admits when the request does not say.
const standardHours = 7 * 24

// EnrollmentTokenView is an enrollment token as the admin API shows it, without its secret.
type EnrollmentTokenView struct {
	ID            string     `json:"id"`
	Name          string     `json:"name"`
	Uses          int        `json:"uses"`
	MaxUses       int        `json:"max_uses" doc:"0: any number"`
	ExpiresAt     time.Time  `json:"expires_at"`
	NeedsApproval bool       `json:"needs_approval"`
	Revoked       bool       `json:"revoked"`
	CreatedBy     string     `json:"created_by"`
	CreatedAt     time.Time  `json:"created_at"`
	Groups        []GroupRef `json:"groups" doc:"of which the devices that it admits become members"`
}

// NewEnrollmentToken is a token with its secret, shown once.
type NewEnrollmentToken struct {
	EnrollmentTokenView
	Token      string `json:"token"`
	Enrollment string `json:"enrollment" doc:"what an agent needs to enroll, in one word"`
}

func (t Token) view() EnrollmentTokenView {
	return EnrollmentTokenView{
		ID: t.ID, Name: t.Name, Uses: t.Uses, MaxUses: t.MaxUses, ExpiresAt: t.ExpiresAt, NeedsApproval: t.NeedsApproval,
		Revoked: t.RevokedAt != nil, CreatedBy: t.CreatedBy, CreatedAt: t.CreatedAt, Groups: []GroupRef{},
	}
}

type (
	tokenList        struct{ Body api.Page[EnrollmentTokenView] }
	createTokenInput struct {
		Body struct {
			Name           string   `json:"name" minLength:"1" maxLength:"120"`
			MaxUses        int      `json:"max_uses,omitempty" minimum:"0" maximum:"1000000" doc:"0 or absent: any number"`
			ExpiresInHours int      `json:"expires_in_hours,omitempty" minimum:"0" maximum:"87600" doc:"absent: 168"`
			NeedsApproval  bool     `json:"needs_approval,omitempty"`
			GroupIDs       []string `json:"group_ids,omitempty" maxItems:"20" doc:"static groups of which the devices that it admits become members at once"`
		}
	}
	createTokenOutput struct{ Body NewEnrollmentToken }
)

func (a *API) registerTokens(h huma.API) {
	tags := []string{"enrollment"}
	api.Register(h, huma.Operation{
		OperationID: "list-enrollment-tokens", Method: http.MethodGet, Path: "/enrollment-tokens", Tags: tags,
		Summary: "List enrollment tokens, the newest first",
	}, a.listTokens)
	api.Register(h, huma.Operation{
		OperationID: "create-enrollment-token", Method: http.MethodPost, Path: "/enrollment-tokens", Tags: tags,
		Summary: "Make an enrollment token; its secret is shown once", DefaultStatus: http.StatusCreated,
	}, a.createToken)
	api.Register(h, huma.Operation{
		OperationID: "revoke-enrollment-token", Method: http.MethodDelete, Path: "/enrollment-tokens/{id}", Tags: tags,
		Summary: "Revoke an enrollment token; devices that it admitted stay", DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *idInput) (*struct{}, error) {
		return nil, a.opt.Service.RevokeToken(ctx, in.ID)
	})
}

func (a *API) listTokens(ctx context.Context, in *struct{ api.PageParams }) (*tokenList, error) {
	before, err := api.DecodeCursor(in.Cursor, 1)
	if err != nil {
		return nil, err
	}
	tokens, err := a.opt.Service.Tokens(ctx, append(before, "")[0], in.Fetch())
	if err != nil {
		return nil, err
	}
	views, err := a.tokenViews(ctx, tokens)
	if err != nil {
		return nil, err
	}
	return &tokenList{Body: api.NewPage(views, in.PageParams, func(v EnrollmentTokenView) []string { return []string{v.ID} })}, nil
}

func (a *API) tokenViews(ctx context.Context, tokens []Token) ([]EnrollmentTokenView, error) {
	ids := make([]string, len(tokens))
	for i, t := range tokens {
		ids[i] = t.ID
	}
	groups, err := a.opt.TokenGroups(ctx, ids)
	if err != nil {
		return nil, err
	}
	views := make([]EnrollmentTokenView, len(tokens))
	for i, t := range tokens {
		views[i] = t.view()
		views[i].Groups = append(views[i].Groups, groups[t.ID]...)
	}
	return views, nil
}

func (a *API) createToken(ctx context.Context, in *createTokenInput) (*createTokenOutput, error) {
	hours := in.Body.ExpiresInHours
	if hours == 0 {
		hours = standardHours
	}
	t, secret, err := a.opt.Service.CreateToken(ctx, Token{
		Name: in.Body.Name, MaxUses: in.Body.MaxUses, NeedsApproval: in.Body.NeedsApproval,
		ExpiresAt: time.Now().Add(time.Duration(hours) * time.Hour), CreatedBy: user.FromContext(ctx).Name,
		GroupIDs: in.Body.GroupIDs,
	})
	if err != nil {
		return nil, err
	}
	audit.Detail(ctx, "name", t.Name)
	enrollment, err := a.opt.Enrollment(ctx, secret)
	if err != nil {
		return nil, err
	}
	views, err := a.tokenViews(ctx, []Token{t})
	if err != nil {
		return nil, err
	}
	for i, g := range views[0].Groups {
		audit.Detail(ctx, "group "+strconv.Itoa(i+1), g.Name)
	}
	return &createTokenOutput{Body: NewEnrollmentToken{EnrollmentTokenView: views[0], Token: secret, Enrollment: enrollment}}, nil
}
