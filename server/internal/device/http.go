package device

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/audit"
)

// APIOptions configure an API.
type APIOptions struct {
	Service *Service
	// OpenDeployments counts the open deployments of devices.
	OpenDeployments func(ctx context.Context, deviceIDs []string) (map[string]int, error)
	// Groups are those of which a device is a member, by name.
	Groups func(ctx context.Context, deviceID string) ([]GroupRef, error)
	// TokenGroups are the groups that enrollment tokens name, by token.
	TokenGroups func(ctx context.Context, tokenIDs []string) (map[string][]GroupRef, error)
	// Enrollment makes the enrollment string around a token's secret.
	Enrollment func(ctx context.Context, token string) (string, error)
}

// API is the feature's part of the admin API.
type API struct{ opt APIOptions }

// NewAPI makes the API.
func NewAPI(opt APIOptions) *API { return &API{opt} }

// DeviceView is a device as the admin API shows it.
type DeviceView struct {
	ID               string          `json:"id"`
	Hostname         string          `json:"hostname"`
	State            string          `json:"state" enum:"pending,active,quarantined,revoked,removed"`
	QuarantineReason string          `json:"quarantine_reason,omitempty"`
	OS               string          `json:"os"`
	OSName           string          `json:"os_name"`
	OSVersion        string          `json:"os_version"`
	Arch             string          `json:"arch"`
	AgentVersion     string          `json:"agent_version"`
	TrustVersion     int             `json:"trust_version" doc:"of the trust document that the device confirmed last"`
	Connected        bool            `json:"connected"`
	LastSeenAt       *time.Time      `json:"last_seen_at,omitempty"`
	EnrolledAt       time.Time       `json:"enrolled_at"`
	IPs              []string        `json:"ips"`
	OpenDeployments  int             `json:"open_deployments"`
	OpenTasks        int             `json:"open_tasks" doc:"that are not deployments"`
	Facts            *protocol.Facts `json:"facts,omitempty" doc:"only when one device is asked for"`
	Footprint        *Footprint      `json:"footprint,omitempty" doc:"what the agent has cost the computer; only when one device is asked for"`
	Groups           []GroupRef      `json:"groups,omitempty" doc:"of which it is a member; only when one device is asked for"`
}

func (a *API) views(ctx context.Context, devices []Device) ([]DeviceView, error) {
	ids := make([]string, len(devices))
	for i, d := range devices {
		ids[i] = d.ID
	}
	open, err := a.opt.OpenDeployments(ctx, ids)
	if err != nil {
		return nil, err
	}
	views := make([]DeviceView, len(devices))
	for i, d := range devices {
		views[i] = DeviceView{
			ID: d.ID, Hostname: d.Hostname, State: d.State, OS: d.OS, OSName: d.OSName, OSVersion: d.OSVersion,
			Arch: d.Arch, AgentVersion: d.AgentVersion, TrustVersion: d.TrustVersion,
			Connected: a.opt.Service.live.Connected(d.ID), LastSeenAt: d.LastSeenAt, EnrolledAt: d.EnrolledAt,
			IPs: append([]string{}, d.Facts.IPs...), OpenDeployments: open[d.ID], OpenTasks: d.OpenTasks,
		}
		if d.State == protocol.DeviceQuarantined {
			views[i].QuarantineReason = d.QuarantineReason
		}
	}
	return views, nil
}

func (a *API) one(ctx context.Context, d Device, err error) (*viewOutput, error) {
	if err != nil {
		return nil, err
	}
	views, err := a.views(ctx, []Device{d})
	if err != nil {
		return nil, err
	}
	views[0].Facts, views[0].Footprint = &d.Facts, d.Footprint
	if views[0].Groups, err = a.opt.Groups(ctx, d.ID); err != nil {
		return nil, err
	}
	return &viewOutput{Body: views[0]}, nil
}

type (
	idInput struct {
		ID string `path:"id" maxLength:"64"`
	}
	viewOutput struct{ Body DeviceView }
	listInput  struct {
		api.PageParams
		Search
		Group      string `query:"group" maxLength:"64" doc:"id of a group; membership of a saved search is kept within seconds"`
		Connected  string `query:"connected" enum:"true,false"`
		TrustBelow int    `query:"trust_below" minimum:"0" doc:"neither revoked nor removed, and has not confirmed the trust document of this version"`
	}
	listOutput   struct{ Body api.Page[DeviceView] }
	wakeupOutput struct {
		Body struct {
			Connected bool `json:"connected" doc:"the device has a live connection and hears it now"`
		}
	}
)

// Register adds the operations.
func (a *API) Register(h huma.API) {
	s := a.opt.Service
	api.Register(h, huma.Operation{
		OperationID: "list-devices", Method: http.MethodGet, Path: "/devices", Tags: []string{"devices"},
		Summary: "List devices, by host name",
	}, a.list)
	api.Register(h, huma.Operation{
		OperationID: "get-device", Method: http.MethodGet, Path: "/devices/{id}", Tags: []string{"devices"}, Summary: "Show a device",
	}, func(ctx context.Context, in *idInput) (*viewOutput, error) {
		d, err := s.Get(ctx, in.ID)
		return a.one(ctx, d, err)
	})
	api.Register(h, huma.Operation{
		OperationID: "approve-device", Method: http.MethodPost, Path: "/devices/{id}/approve", Tags: []string{"devices"},
		Summary: "Let a pending or quarantined device do work",
	}, func(ctx context.Context, in *idInput) (*viewOutput, error) {
		d, err := s.Approve(ctx, in.ID)
		audit.Detail(ctx, "hostname", d.Hostname)
		return a.one(ctx, d, err)
	})
	api.Register(h, huma.Operation{
		OperationID: "revoke-device", Method: http.MethodPost, Path: "/devices/{id}/revoke", Tags: []string{"devices"},
		Summary: "End a device's right to talk to this server, for good",
	}, func(ctx context.Context, in *idInput) (*viewOutput, error) {
		d, err := s.Revoke(ctx, in.ID)
		audit.Detail(ctx, "hostname", d.Hostname)
		return a.one(ctx, d, err)
	})
	api.Register(h, huma.Operation{
		OperationID: "wake-device", Method: http.MethodPost, Path: "/devices/{id}/wakeup", Tags: []string{"devices"},
		Summary: "Tell a device to check in now", DefaultStatus: http.StatusAccepted,
	}, func(ctx context.Context, in *idInput) (*wakeupOutput, error) {
		out := &wakeupOutput{}
		var err error
		out.Body.Connected, err = s.Wakeup(ctx, in.ID)
		return out, err
	})
	a.registerTokens(h)
}

func (a *API) list(ctx context.Context, in *listInput) (*listOutput, error) {
	after, err := api.DecodeCursor(in.Cursor, 2)
	if err != nil {
		return nil, err
	}
	if err := in.Validate("query."); err != nil {
		return nil, err
	}
	var connected *bool
	if in.Connected != "" {
		yes := in.Connected == "true"
		connected = &yes
	}
	devices, err := a.opt.Service.List(ctx, Filter{
		Search: in.Search, Group: in.Group, Connected: connected, TrustBelow: in.TrustBelow, After: after, Limit: in.Fetch(),
	})
	if err != nil {
		return nil, err
	}
	views, err := a.views(ctx, devices)
	if err != nil {
		return nil, err
	}
	return &listOutput{Body: api.NewPage(views, in.PageParams, func(v DeviceView) []string { return []string{v.Hostname, v.ID} })}, nil
}
