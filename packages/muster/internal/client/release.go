package client

import (
	"context"
	"encoding/base64"
	"net/url"
	"time"

	"github.com/muster/muster/packages/protocol"
)

// Release is a registered release of the agent.
type Release struct {
	ID            string          `json:"id"`
	Version       string          `json:"version"`
	State         string          `json:"state"`
	Builds        []ReleaseBuild  `json:"builds"`
	DowngradeFrom []string        `json:"downgrade_from"`
	Notes         string          `json:"notes,omitempty"`
	SignedBy      []string        `json:"signed_by"`
	Envelope      string          `json:"envelope"` // SHA-256 of the signed envelope
	Refusal       protocol.Reason `json:"refusal,omitempty"`
	IssuedAt      time.Time       `json:"issued_at"`
	ExpiresAt     time.Time       `json:"expires_at"`
	CreatedBy     string          `json:"created_by"`
	CreatedAt     time.Time       `json:"created_at"`
	RetiredAt     *time.Time      `json:"retired_at,omitempty"`
}

// ReleaseBuild is the program for one platform.
type ReleaseBuild struct {
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	Size        int64  `json:"size"`
	SHA256      string `json:"sha256"`
	ArchiveSize int64  `json:"archive_size"`
}

// CreateRelease registers a signed release; the uploads are its builds, in their order.
func (c *Client) CreateRelease(ctx context.Context, envelope []byte, uploadIDs []string) (Release, error) {
	return post[Release](ctx, c, "/releases", map[string]any{
		"envelope": base64.StdEncoding.EncodeToString(envelope), "upload_ids": uploadIDs,
	})
}

// Releases lists releases; query may have q and state.
func (c *Client) Releases(ctx context.Context, query url.Values, limit int) ([]Release, error) {
	return list[Release](ctx, c, "/releases", query, limit)
}

// Release shows one release.
func (c *Client) Release(ctx context.Context, id string) (Release, error) {
	return get[Release](ctx, c, "/releases"+seg(id))
}

// RetireRelease ends what a release offers.
func (c *Client) RetireRelease(ctx context.Context, id string) (Release, error) {
	return post[Release](ctx, c, "/releases"+seg(id)+"/retire", nil)
}

// NewUpdate names devices, or a group, and the release that their agents are to become.
type NewUpdate struct {
	ReleaseID        string   `json:"release_id"`
	DeviceIDs        []string `json:"device_ids,omitempty"`
	GroupID          string   `json:"group_id,omitempty"`
	ProbationSeconds int      `json:"probation_seconds,omitempty"`
}

// Updates is what became of a NewUpdate.
type Updates struct {
	BatchID string    `json:"batch_id,omitempty"`
	Tasks   []Task    `json:"tasks"`
	Made    int       `json:"made"`
	LeftOut []LeftOut `json:"left_out"`
}

// LeftOut is a member of a group that got no update.
type LeftOut struct {
	DeviceID string `json:"device_id"`
	Hostname string `json:"hostname"`
	Why      string `json:"why"`
}

// StartUpdate brings the agents of devices to a release.
func (c *Client) StartUpdate(ctx context.Context, in NewUpdate) (Updates, error) {
	return post[Updates](ctx, c, "/updates", in)
}
