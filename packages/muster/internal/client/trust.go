package client

import (
	"context"
	"net/http"
	"time"
)

// Trust is the trust document as the server shows it.
type Trust struct {
	Version         int            `json:"version"`
	IssuedAt        *time.Time     `json:"issued_at,omitempty"`
	RootFingerprint string         `json:"root_fingerprint"` // of a root that signed this document
	ServerCanSign   bool           `json:"server_can_sign"`
	RootOnServer    bool           `json:"root_on_server"`
	Devices         TrustDevices   `json:"devices"`
	Keys            []TrustKey     `json:"keys"`
	Thresholds      map[string]int `json:"thresholds"`
	Revoked         []string       `json:"revoked,omitempty"`
	Envelope        []byte         `json:"envelope"`
}

// TrustDevices says how far devices have followed.
type TrustDevices struct {
	Total  int `json:"total"`
	Behind int `json:"behind"`
	Ahead  int `json:"ahead"`
}

// TrustKey is one key of the trust document.
type TrustKey struct {
	ID      string     `json:"id"`
	Roles   []string   `json:"roles"`
	AddedAt *time.Time `json:"added_at,omitempty"`
}

// Trust shows the trust document.
func (c *Client) Trust(ctx context.Context) (Trust, error) { return get[Trust](ctx, c, "/trust") }

// PublishTrust hands in the next trust document, with all the signatures that it needs.
func (c *Client) PublishTrust(ctx context.Context, envelope []byte) (Trust, error) {
	var out Trust
	err := c.call(ctx, http.MethodPut, "/trust", nil, map[string]any{"envelope": envelope}, &out)
	return out, err
}

// CosignTrust hands in the next trust document, which the server signs with its root key and publishes.
func (c *Client) CosignTrust(ctx context.Context, envelope []byte) (Trust, error) {
	return post[Trust](ctx, c, "/trust/signature", map[string]any{"envelope": envelope})
}

// RotateTrust makes the server replace its root and server key by new ones.
func (c *Client) RotateTrust(ctx context.Context) (Trust, error) {
	return post[Trust](ctx, c, "/trust/rotation", nil)
}
