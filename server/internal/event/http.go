package event

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/server/internal/api"
)

// API is the feature's part of the admin API.
type API struct{ Service *Service }

// EventView is an event as the admin API shows it.
type EventView struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	DeviceID string    `json:"device_id"`
	Hostname string    `json:"hostname" doc:"of the device at that time"`
	Kind     string    `json:"kind" enum:"first_inventory,software_added,software_removed,software_updated,hardware_added,hardware_removed,hardware_changed,system_changed,agent_updated,agent_update_failed,disk_low,disk_recovered,device_silent,device_back,device_approved,device_quarantined,device_revoked,device_removed"`
	Section  string    `json:"section,omitempty" doc:"of the inventory"`
	Subject  string    `json:"subject,omitempty" doc:"the program, part or file system"`
	Former   string    `json:"former,omitempty" doc:"what was"`
	Present  string    `json:"present,omitempty" doc:"what is"`
	Message  string    `json:"message"`
}

type (
	listInput struct {
		api.PageParams
		Query    string    `query:"q" maxLength:"200" doc:"part of host name, subject or message"`
		DeviceID string    `query:"device_id" maxLength:"64"`
		Kinds    []string  `query:"kind" maxItems:"20" enum:"first_inventory,software_added,software_removed,software_updated,hardware_added,hardware_removed,hardware_changed,system_changed,agent_updated,agent_update_failed,disk_low,disk_recovered,device_silent,device_back,device_approved,device_quarantined,device_revoked,device_removed" doc:"one or more kinds, separated by commas"`
		Since    time.Time `query:"since" doc:"not before this time"`
		Until    time.Time `query:"until" doc:"before this time"`
	}
	listOutput struct{ Body api.Page[EventView] }
)

// Register adds the operations.
func (a *API) Register(h huma.API) {
	api.Register(h, huma.Operation{
		OperationID: "list-device-events", Method: http.MethodGet, Path: "/device-events", Tags: []string{"events"},
		Summary: "List what happened to devices, newest first",
	}, a.list)
}

func (a *API) list(ctx context.Context, in *listInput) (*listOutput, error) {
	f := Filter{Query: in.Query, DeviceID: in.DeviceID, Kinds: in.Kinds, Since: in.Since, Until: in.Until, Limit: in.Fetch()}
	after, err := api.DecodeCursor(in.Cursor, 1)
	if err != nil {
		return nil, err
	}
	if after != nil {
		f.Before = after[0]
	}
	events, err := a.Service.List(ctx, f)
	if err != nil {
		return nil, err
	}
	views := make([]EventView, len(events))
	for i, e := range events {
		views[i] = EventView(e)
	}
	return &listOutput{Body: api.NewPage(views, in.PageParams, func(e EventView) []string { return []string{e.ID} })}, nil
}
