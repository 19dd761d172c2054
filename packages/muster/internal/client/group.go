package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// GroupRef names a group of devices.
type GroupRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Kind string `json:"kind"`
}

// Group is a list of devices, or a saved search.
type Group struct {
	GroupRef
	Description string         `json:"description,omitempty"`
	Search      map[string]any `json:"search,omitempty"` // of a saved search, as the list of devices takes it
	Members     int            `json:"members"`
	LogLevel    string         `json:"log_level,omitempty"`
	ReleaseID   string         `json:"release_id,omitempty"`
	CreatedBy   string         `json:"created_by"`
	CreatedAt   time.Time      `json:"created_at"`
	UpdatedAt   time.Time      `json:"updated_at"`
}

// GroupChange is what to make of a group; nil leaves it.
type GroupChange struct {
	Name        *string        `json:"name,omitempty"`
	Description *string        `json:"description,omitempty"`
	Search      map[string]any `json:"search,omitzero"` // an empty one finds every device
	DeviceIDs   []string       `json:"device_ids,omitempty"`
	LogLevel    *string        `json:"log_level,omitempty"`
	ReleaseID   *string        `json:"release_id,omitempty"`
}

// Member is a device of a group.
type Member struct {
	DeviceID     string     `json:"device_id"`
	Hostname     string     `json:"hostname"`
	State        string     `json:"state"`
	Connected    bool       `json:"connected"`
	OSName       string     `json:"os_name"`
	OSVersion    string     `json:"os_version"`
	AgentVersion string     `json:"agent_version"`
	LastSeenAt   *time.Time `json:"last_seen_at,omitempty"`
	AddedAt      *time.Time `json:"added_at,omitempty"`
	AddedBy      string     `json:"added_by,omitempty"`
}

// GroupPreview is what a search finds.
type GroupPreview struct {
	Count   int      `json:"count"`
	Devices []Member `json:"devices"` // the first of them
}

// Groups lists groups; query may have q and kind.
func (c *Client) Groups(ctx context.Context, query url.Values, limit int) ([]Group, error) {
	return list[Group](ctx, c, "/groups", query, limit)
}

// Group shows one group.
func (c *Client) Group(ctx context.Context, id string) (Group, error) {
	return get[Group](ctx, c, "/groups"+seg(id))
}

// CreateGroup makes a group.
func (c *Client) CreateGroup(ctx context.Context, in GroupChange) (Group, error) {
	return post[Group](ctx, c, "/groups", in)
}

// PreviewGroup looks at what a search finds.
func (c *Client) PreviewGroup(ctx context.Context, search map[string]any, limit int) (GroupPreview, error) {
	return post[GroupPreview](ctx, c, "/groups/preview", map[string]any{"search": search, "limit": limit})
}

// ChangeGroup changes a group.
func (c *Client) ChangeGroup(ctx context.Context, id string, in GroupChange) (Group, error) {
	var out Group
	err := c.call(ctx, http.MethodPatch, "/groups"+seg(id), nil, in, &out)
	return out, err
}

// DeleteGroup deletes a group; its devices stay.
func (c *Client) DeleteGroup(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/groups"+seg(id), nil, nil, nil)
}

// GroupMembers lists the devices of a group.
func (c *Client) GroupMembers(ctx context.Context, id string, limit int) ([]Member, error) {
	return list[Member](ctx, c, "/groups"+seg(id)+"/members", nil, limit)
}

// AddMembers adds devices to a list.
func (c *Client) AddMembers(ctx context.Context, id string, deviceIDs []string) (Group, error) {
	return post[Group](ctx, c, "/groups"+seg(id)+"/members", map[string]any{"device_ids": deviceIDs})
}

// RemoveMembers takes devices off a list.
func (c *Client) RemoveMembers(ctx context.Context, id string, deviceIDs []string) (Group, error) {
	return post[Group](ctx, c, "/groups"+seg(id)+"/members/remove", map[string]any{"device_ids": deviceIDs})
}
