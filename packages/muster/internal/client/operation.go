package client

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
)

// pageSize is how many items are asked for at once.
const pageSize = 200

type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// list reads pages until limit items are there; limit 0 is all.
func list[T any](ctx context.Context, c *Client, path string, query url.Values, limit int) ([]T, error) {
	q := url.Values{}
	for k, v := range query {
		if len(v) > 0 && v[0] != "" {
			q[k] = v
		}
	}
	all := []T{}
	for {
		n := pageSize
		if limit > 0 {
			n = min(n, limit-len(all))
		}
		q.Set("limit", strconv.Itoa(n))
		var p page[T]
		if err := c.call(ctx, http.MethodGet, path, q, nil, &p); err != nil {
			return nil, err
		}
		all = append(all, p.Items...)
		if p.Next == "" || len(p.Items) == 0 || (limit > 0 && len(all) >= limit) {
			return all, nil
		}
		q.Set("cursor", p.Next)
	}
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var out T
	err := c.call(ctx, http.MethodGet, path, nil, nil, &out)
	return out, err
}

func post[T any](ctx context.Context, c *Client, path string, in any) (T, error) {
	var out T
	err := c.call(ctx, http.MethodPost, path, nil, in, &out)
	return out, err
}

func seg(id string) string { return "/" + url.PathEscape(id) }

// Login opens a session, kept in a cookie by this Client only.
func (c *Client) Login(ctx context.Context, username, password string) (Me, error) {
	return post[Me](ctx, c, "/login", map[string]string{"username": username, "password": password})
}

// Logout ends the session.
func (c *Client) Logout(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/logout", nil, nil, nil)
}

// Me says who one is.
func (c *Client) Me(ctx context.Context) (Me, error) { return get[Me](ctx, c, "/me") }

// Info describes the server.
func (c *Client) Info(ctx context.Context) (ServerInfo, error) {
	return get[ServerInfo](ctx, c, "/server")
}

// CreateAPIToken makes a token; days 0 leaves its end to the server.
func (c *Client) CreateAPIToken(ctx context.Context, name string, days int) (APIToken, error) {
	in := map[string]any{"name": name}
	if days > 0 {
		in["expires_in_days"] = days
	}
	return post[APIToken](ctx, c, "/api-tokens", in)
}

// DeleteAPIToken ends a token.
func (c *Client) DeleteAPIToken(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/api-tokens"+seg(id), nil, nil, nil)
}

// NewEnrollmentToken describes a token to make.
type NewEnrollmentToken struct {
	Name           string   `json:"name"`
	MaxUses        int      `json:"max_uses,omitempty"`
	ExpiresInHours int      `json:"expires_in_hours,omitempty"`
	NeedsApproval  bool     `json:"needs_approval,omitempty"`
	GroupIDs       []string `json:"group_ids,omitempty"`
}

// CreateEnrollmentToken makes a token that admits devices.
func (c *Client) CreateEnrollmentToken(ctx context.Context, in NewEnrollmentToken) (EnrollmentToken, error) {
	return post[EnrollmentToken](ctx, c, "/enrollment-tokens", in)
}

// EnrollmentTokens lists tokens.
func (c *Client) EnrollmentTokens(ctx context.Context, limit int) ([]EnrollmentToken, error) {
	return list[EnrollmentToken](ctx, c, "/enrollment-tokens", nil, limit)
}

// RevokeEnrollmentToken ends a token.
func (c *Client) RevokeEnrollmentToken(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/enrollment-tokens"+seg(id), nil, nil, nil)
}

// Devices lists devices; query has what the server's list of devices takes.
func (c *Client) Devices(ctx context.Context, query url.Values, limit int) ([]Device, error) {
	return list[Device](ctx, c, "/devices", query, limit)
}

// Device shows one device with its facts.
func (c *Client) Device(ctx context.Context, id string) (Device, error) {
	return get[Device](ctx, c, "/devices"+seg(id))
}

// ApproveDevice lets a pending or quarantined device work.
func (c *Client) ApproveDevice(ctx context.Context, id string) (Device, error) {
	return post[Device](ctx, c, "/devices"+seg(id)+"/approve", nil)
}

// RevokeDevice ends a device's identity.
func (c *Client) RevokeDevice(ctx context.Context, id string) (Device, error) {
	return post[Device](ctx, c, "/devices"+seg(id)+"/revoke", nil)
}

// Wake asks a device to check in now, and says whether it is connected and so hears it.
func (c *Client) Wake(ctx context.Context, id string) (bool, error) {
	out, err := post[struct {
		Connected bool `json:"connected"`
	}](ctx, c, "/devices"+seg(id)+"/wakeup", nil)
	return out.Connected, err
}

// Packages lists packages; query may have q and state.
func (c *Client) Packages(ctx context.Context, query url.Values, limit int) ([]Package, error) {
	return list[Package](ctx, c, "/packages", query, limit)
}

// Package shows one package.
func (c *Client) Package(ctx context.Context, id string) (Package, error) {
	return get[Package](ctx, c, "/packages"+seg(id))
}

// CreatePackage makes a draft.
func (c *Client) CreatePackage(ctx context.Context, in NewPackage) (Package, error) {
	return post[Package](ctx, c, "/packages", in)
}

// DeletePackage deletes a draft.
func (c *Client) DeletePackage(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/packages"+seg(id), nil, nil, nil)
}

// SignByServer asks the server to sign with its own key; days 0 is the default.
func (c *Client) SignByServer(ctx context.Context, id string, days int) (Package, error) {
	in := map[string]int{}
	if days > 0 {
		in["expires_in_days"] = days
	}
	return post[Package](ctx, c, "/packages"+seg(id)+"/sign", in)
}

// PutInstruction hands in an instruction that an author signed.
func (c *Client) PutInstruction(ctx context.Context, id string, envelope []byte) (Package, error) {
	var out Package
	in := map[string]string{"envelope": base64.StdEncoding.EncodeToString(envelope)}
	err := c.call(ctx, http.MethodPut, "/packages"+seg(id)+"/instruction", nil, in, &out)
	return out, err
}

// PartialInstruction reads the instruction that waits for more signatures; empty when there is none.
func (c *Client) PartialInstruction(ctx context.Context, id string) ([]byte, error) {
	out, err := get[struct {
		Partial []byte `json:"partial"`
	}](ctx, c, "/packages"+seg(id)+"/instruction")
	return out.Partial, err
}

// ActivatePackage makes a signed package offerable.
func (c *Client) ActivatePackage(ctx context.Context, id string) (Package, error) {
	return post[Package](ctx, c, "/packages"+seg(id)+"/activate", nil)
}

// RetirePackage ends what a package offers.
func (c *Client) RetirePackage(ctx context.Context, id string) (Package, error) {
	return post[Package](ctx, c, "/packages"+seg(id)+"/retire", nil)
}

// Assign gives a package to devices.
func (c *Client) Assign(ctx context.Context, in NewAssignment) (Assignment, error) {
	return post[Assignment](ctx, c, "/assignments", in)
}

// Assignments lists assignments, of one package unless packageID is empty.
func (c *Client) Assignments(ctx context.Context, packageID string, limit int) ([]Assignment, error) {
	return list[Assignment](ctx, c, "/assignments", url.Values{"package_id": {packageID}}, limit)
}

// Unassign takes an assignment back.
func (c *Client) Unassign(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/assignments"+seg(id), nil, nil, nil)
}

// Deployments lists deployments; query may have device_id, package_id, assignment_id, state and open.
func (c *Client) Deployments(ctx context.Context, query url.Values, limit int) ([]Deployment, error) {
	return list[Deployment](ctx, c, "/deployments", query, limit)
}

// Deployment shows one deployment with its timeline.
func (c *Client) Deployment(ctx context.Context, id string) (Deployment, error) {
	return get[Deployment](ctx, c, "/deployments"+seg(id))
}

// RetryDeployment begins a new attempt.
func (c *Client) RetryDeployment(ctx context.Context, id string) (Deployment, error) {
	return post[Deployment](ctx, c, "/deployments"+seg(id)+"/retry", nil)
}

// CancelDeployment ends a deployment.
func (c *Client) CancelDeployment(ctx context.Context, id string) (Deployment, error) {
	return post[Deployment](ctx, c, "/deployments"+seg(id)+"/cancel", nil)
}

// Audit lists the newest operations first.
func (c *Client) Audit(ctx context.Context, limit int) ([]AuditEntry, error) {
	return list[AuditEntry](ctx, c, "/audit", nil, limit)
}
