package group

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/audit"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/user"
)

// API is the feature's part of the admin API.
type API struct{ Service *Service }

// GroupView is a group as the admin API shows it.
type GroupView struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Description string         `json:"description,omitempty"`
	Kind        string         `json:"kind" enum:"static,search" doc:"a list of devices, or a saved search"`
	Search      *device.Search `json:"search,omitempty" doc:"of a saved search"`
	Members     int            `json:"members" doc:"devices; those of a saved search as of some seconds ago"`
	LogLevel    string         `json:"log_level,omitempty" doc:"members forward log lines of this level and worse, unless a level is set on the device itself"`
	ReleaseID   string         `json:"release_id,omitempty" doc:"members become this release of the agent"`
	CreatedBy   string         `json:"created_by"`
	CreatedAt   time.Time      `json:"created_at"`
	UpdatedAt   time.Time      `json:"updated_at"`
}

// MemberView is a device of a group as the admin API shows it.
type MemberView struct {
	DeviceID     string     `json:"device_id"`
	Hostname     string     `json:"hostname"`
	State        string     `json:"state" enum:"pending,active,quarantined,revoked,removed"`
	Connected    bool       `json:"connected"`
	OSName       string     `json:"os_name"`
	OSVersion    string     `json:"os_version"`
	AgentVersion string     `json:"agent_version"`
	LastSeenAt   *time.Time `json:"last_seen_at,omitempty"`
	AddedAt      *time.Time `json:"added_at,omitempty" doc:"absent: a search finds it now, and membership follows within seconds"`
	AddedBy      string     `json:"added_by,omitempty"`
}

type (
	idInput struct {
		ID string `path:"id" maxLength:"64"`
	}
	listInput struct {
		api.PageParams
		Query string `query:"q" maxLength:"200" doc:"part of name or description"`
		Kind  string `query:"kind" enum:"static,search"`
	}
	listOutput  struct{ Body api.Page[GroupView] }
	viewOutput  struct{ Body GroupView }
	createInput struct {
		Body struct {
			Name        string         `json:"name" minLength:"1" maxLength:"120"`
			Description string         `json:"description,omitempty" maxLength:"500"`
			Search      *device.Search `json:"search,omitempty" doc:"makes a saved search, whose members are what it finds; an empty one finds every device"`
			DeviceIDs   []string       `json:"device_ids,omitempty" maxItems:"10000" doc:"members of a list"`
			LogLevel    string         `json:"log_level,omitempty" maxLength:"10" doc:"debug, info, warn or error"`
			ReleaseID   string         `json:"release_id,omitempty" maxLength:"64"`
		}
	}
	changeInput struct {
		ID   string `path:"id" maxLength:"64"`
		Body struct {
			Name        *string        `json:"name,omitempty" minLength:"1" maxLength:"120"`
			Description *string        `json:"description,omitempty" maxLength:"500"`
			Search      *device.Search `json:"search,omitempty" doc:"in place of the present one; of a saved search only"`
			LogLevel    *string        `json:"log_level,omitempty" maxLength:"10" doc:"debug, info, warn or error; empty: none"`
			ReleaseID   *string        `json:"release_id,omitempty" maxLength:"64" doc:"empty: none"`
		}
	}
	membersInput struct {
		ID string `path:"id" maxLength:"64"`
		api.PageParams
		Query string `query:"q" maxLength:"200" doc:"part of the host name"`
	}
	membersOutput struct{ Body api.Page[MemberView] }
	devicesInput  struct {
		ID   string `path:"id" maxLength:"64"`
		Body struct {
			DeviceIDs []string `json:"device_ids" minItems:"1" maxItems:"10000"`
		}
	}
	previewInput struct {
		Body struct {
			Search device.Search `json:"search"`
			Limit  int           `json:"limit,omitempty" minimum:"0" maximum:"200" doc:"of the devices that are returned; absent: 50"`
		}
	}
	previewOutput struct {
		Body struct {
			Count   int          `json:"count" doc:"devices that the search finds"`
			Devices []MemberView `json:"devices" doc:"the first of them, by host name"`
		}
	}
)

// Register adds the operations.
func (a *API) Register(h huma.API) {
	tags := []string{"groups"}
	s := a.Service
	api.Register(h, huma.Operation{
		OperationID: "list-groups", Method: http.MethodGet, Path: "/groups", Tags: tags, Summary: "List groups of devices, by name",
	}, a.list)
	api.Register(h, huma.Operation{
		OperationID: "create-group", Method: http.MethodPost, Path: "/groups", Tags: tags,
		Summary: "Make a group: a list of devices, or a saved search", DefaultStatus: http.StatusCreated,
	}, a.create)
	api.Register(h, huma.Operation{
		OperationID: "preview-group", Method: http.MethodPost, Path: "/groups/preview", Tags: tags,
		Summary: "Look at what a search finds before it is saved",
	}, a.preview)
	api.Register(h, huma.Operation{
		OperationID: "get-group", Method: http.MethodGet, Path: "/groups/{id}", Tags: tags, Summary: "Show a group",
	}, func(ctx context.Context, in *idInput) (*viewOutput, error) {
		g, err := s.Get(ctx, in.ID)
		return a.one(ctx, g, err)
	})
	api.Register(h, huma.Operation{
		OperationID: "change-group", Method: http.MethodPatch, Path: "/groups/{id}", Tags: tags,
		Summary: "Change what is named of a group; its members follow",
	}, a.change)
	api.Register(h, huma.Operation{
		OperationID: "delete-group", Method: http.MethodDelete, Path: "/groups/{id}", Tags: tags,
		Summary: "Delete a group; its devices stay, and what it had set for them ends", DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *idInput) (*struct{}, error) {
		name, err := s.Delete(ctx, in.ID)
		if err == nil {
			audit.Detail(ctx, "name", name)
		}
		return nil, err
	})
	a.registerMembers(h)
}

func (a *API) registerMembers(h huma.API) {
	tags := []string{"groups"}
	s := a.Service
	api.Register(h, huma.Operation{
		OperationID: "list-group-members", Method: http.MethodGet, Path: "/groups/{id}/members", Tags: tags,
		Summary: "List the devices of a group, by host name; those of a saved search are looked for now",
	}, a.members)
	api.Register(h, huma.Operation{
		OperationID: "add-group-members", Method: http.MethodPost, Path: "/groups/{id}/members", Tags: tags,
		Summary: "Add devices to a list",
	}, func(ctx context.Context, in *devicesInput) (*viewOutput, error) {
		audit.Detail(ctx, "devices", strconv.Itoa(len(in.Body.DeviceIDs)))
		g, err := s.Add(ctx, in.ID, in.Body.DeviceIDs, user.FromContext(ctx).Name)
		return a.one(ctx, g, err)
	})
	api.Register(h, huma.Operation{
		OperationID: "remove-group-members", Method: http.MethodPost, Path: "/groups/{id}/members/remove", Tags: tags,
		Summary: "Take devices off a list",
	}, func(ctx context.Context, in *devicesInput) (*viewOutput, error) {
		audit.Detail(ctx, "devices", strconv.Itoa(len(in.Body.DeviceIDs)))
		g, err := s.Remove(ctx, in.ID, in.Body.DeviceIDs)
		return a.one(ctx, g, err)
	})
}

func (a *API) one(ctx context.Context, g Group, err error) (*viewOutput, error) {
	if err != nil {
		return nil, err
	}
	audit.Detail(ctx, "name", g.Name)
	return &viewOutput{Body: GroupView(g)}, nil
}

// some is nil for an empty text.
func some(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// detail keeps in the audit trail what members of a group are to follow, where something was said of that.
func detail(ctx context.Context, logLevel, releaseID *string) {
	for key, value := range map[string]*string{"log_level": logLevel, "release": releaseID} {
		if value != nil {
			audit.Detail(ctx, key, cmp.Or(*value, "none"))
		}
	}
}

func (a *API) list(ctx context.Context, in *listInput) (*listOutput, error) {
	after, err := api.DecodeCursor(in.Cursor, 2)
	if err != nil {
		return nil, err
	}
	groups, err := a.Service.List(ctx, Filter{Query: in.Query, Kind: in.Kind, After: after, Limit: in.Fetch()})
	if err != nil {
		return nil, err
	}
	views := make([]GroupView, len(groups))
	for i, g := range groups {
		views[i] = GroupView(g)
	}
	return &listOutput{Body: api.NewPage(views, in.PageParams, func(v GroupView) []string { return []string{v.Name, v.ID} })}, nil
}

func (a *API) create(ctx context.Context, in *createInput) (*viewOutput, error) {
	if len(in.Body.DeviceIDs) > 0 {
		audit.Detail(ctx, "devices", strconv.Itoa(len(in.Body.DeviceIDs)))
	}
	detail(ctx, some(in.Body.LogLevel), some(in.Body.ReleaseID))
	g, err := a.Service.Create(ctx, Group{
		Name: in.Body.Name, Description: in.Body.Description, Search: in.Body.Search, LogLevel: in.Body.LogLevel, ReleaseID: in.Body.ReleaseID,
	}, in.Body.DeviceIDs, user.FromContext(ctx).Name)
	return a.one(ctx, g, err)
}

func (a *API) change(ctx context.Context, in *changeInput) (*viewOutput, error) {
	detail(ctx, in.Body.LogLevel, in.Body.ReleaseID)
	g, err := a.Service.Alter(ctx, in.ID, Change{
		Name: in.Body.Name, Description: in.Body.Description, Search: in.Body.Search, LogLevel: in.Body.LogLevel, ReleaseID: in.Body.ReleaseID,
	})
	return a.one(ctx, g, err)
}

func (a *API) members(ctx context.Context, in *membersInput) (*membersOutput, error) {
	after, err := api.DecodeCursor(in.Cursor, 2)
	if err != nil {
		return nil, err
	}
	list, err := a.Service.MemberList(ctx, in.ID, MemberFilter{Query: in.Query, After: after, Limit: in.Fetch()})
	if err != nil {
		return nil, err
	}
	return &membersOutput{Body: api.NewPage(a.views(list), in.PageParams, func(v MemberView) []string { return []string{v.Hostname, v.DeviceID} })}, nil
}

func (a *API) preview(ctx context.Context, in *previewInput) (*previewOutput, error) {
	limit := in.Body.Limit
	if limit == 0 {
		limit = api.DefaultLimit
	}
	count, list, err := a.Service.Preview(ctx, in.Body.Search, limit)
	if err != nil {
		return nil, err
	}
	out := &previewOutput{}
	out.Body.Count, out.Body.Devices = count, a.views(list)
	return out, nil
}

func (a *API) views(list []Member) []MemberView {
	views := make([]MemberView, len(list))
	for i, m := range list {
		views[i] = MemberView{
			DeviceID: m.DeviceID, Hostname: m.Hostname, State: m.State, Connected: a.Service.live.Connected(m.DeviceID), OSName: m.OSName,
			OSVersion: m.OSVersion, AgentVersion: m.AgentVersion, LastSeenAt: m.LastSeenAt, AddedAt: m.AddedAt, AddedBy: m.AddedBy,
		}
	}
	return views
}
