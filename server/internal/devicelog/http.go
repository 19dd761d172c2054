package devicelog

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/audit"
	"github.com/muster/muster/server/internal/user"
)

// API is the feature's part of the admin API.
type API struct{ Service *Service }

type (
	listInput struct {
		api.PageParams
		DeviceID string    `query:"device_id" maxLength:"64"`
		Task     string    `query:"task" maxLength:"40" doc:"kind of task that wrote the line; core for the agent itself"`
		Level    string    `query:"level" enum:"debug,info,warn,error" doc:"this level and worse"`
		From     time.Time `query:"from" doc:"not before this time"`
		To       time.Time `query:"to" doc:"before this time"`
		Text     string    `query:"q" maxLength:"200" doc:"part of the message, whatever its case"`
		Order    string    `query:"order" enum:"newest,oldest" default:"newest" doc:"which come first"`
		After    string    `query:"after" maxLength:"64" doc:"id of the last line seen, with order=oldest: lines after it. How to follow a device: ask again at each event of the type log"`
	}
	listOutput struct {
		Body struct {
			Items []Line `json:"items"`
			Next  string `json:"next,omitempty" doc:"cursor of the next page"`
			// A search for rare lines may give a page that is not full, even empty, and yet a next one.
			SearchedUntil *time.Time `json:"searched_until,omitempty" doc:"set when the page is not full because the search had looked at enough lines: it goes on from this time at next"`
		}
	}
	idInput struct {
		ID string `path:"id" maxLength:"64"`
	}
	levelInput struct {
		ID   string `path:"id" maxLength:"64"`
		Body struct {
			Level      string `json:"level" enum:"groups,off,debug,info,warn,error" doc:"forward lines of this level and worse; groups: what the device's groups say"`
			ForSeconds int    `json:"for_seconds,omitempty" minimum:"0" maximum:"604800" doc:"for how long; 0 is for good"`
			After      string `json:"after,omitempty" enum:"groups,off,debug,info,warn,error" doc:"level after that time; without it what was set for good before"`
		}
	}
	followInput struct {
		ID   string `path:"id" maxLength:"64"`
		Body struct {
			ForSeconds int `json:"for_seconds" minimum:"1" maximum:"3600" doc:"from now; ask again before it ends"`
		}
	}
	settingOutput struct{ Body Setting }
)

// Register adds the operations.
func (a *API) Register(h huma.API) {
	tags := []string{"logs"}
	api.Register(h, huma.Operation{
		OperationID: "list-logs", Method: http.MethodGet, Path: "/logs", Tags: tags,
		Summary: "List log lines that agents have forwarded",
	}, a.list)
	api.Register(h, huma.Operation{
		OperationID: "get-device-log", Method: http.MethodGet, Path: "/devices/{id}/log", Tags: tags,
		Summary: "Show from which level on a device forwards log lines",
	}, func(ctx context.Context, in *idInput) (*settingOutput, error) {
		got, err := a.Service.Get(ctx, in.ID)
		return &settingOutput{Body: got}, err
	})
	api.Register(h, huma.Operation{
		OperationID: "set-device-log", Method: http.MethodPut, Path: "/devices/{id}/log", Tags: tags,
		Summary: "Set from which level on a device forwards log lines",
	}, a.set)
	api.Register(h, huma.Operation{
		OperationID: "follow-device-log", Method: http.MethodPost, Path: "/devices/{id}/log/follow", Tags: tags,
		Summary: "Ask a device for its log lines as they come, for a while",
	}, func(ctx context.Context, in *followInput) (*settingOutput, error) {
		got, err := a.Service.Follow(ctx, in.ID, time.Duration(in.Body.ForSeconds)*time.Second)
		audit.Detail(ctx, "hostname", got.Hostname)
		audit.Detail(ctx, "for_seconds", strconv.Itoa(in.Body.ForSeconds))
		return &settingOutput{Body: got}, err
	})
}

func (a *API) set(ctx context.Context, in *levelInput) (*settingOutput, error) {
	got, err := a.Service.SetFor(ctx, in.ID, in.Body.Level, time.Duration(in.Body.ForSeconds)*time.Second, in.Body.After, user.FromContext(ctx).Name)
	audit.Detail(ctx, "hostname", got.Hostname)
	audit.Detail(ctx, "level", in.Body.Level)
	if in.Body.ForSeconds > 0 {
		audit.Detail(ctx, "for_seconds", strconv.Itoa(in.Body.ForSeconds))
		audit.Detail(ctx, "after", got.After)
	}
	return &settingOutput{Body: got}, err
}

func (a *API) list(ctx context.Context, in *listInput) (*listOutput, error) {
	f := Filter{
		DeviceID: in.DeviceID, Task: in.Task, Level: in.Level, From: in.From, To: in.To, Text: in.Text, Oldest: in.Order == "oldest",
		Limit: in.Fetch() - 1,
	}
	after, err := api.DecodeCursor(in.Cursor, 1)
	if err != nil {
		return nil, err
	}
	f.After = in.After
	if after != nil {
		f.After = after[0]
	}
	if in.After != "" && !f.Oldest {
		return nil, fault.Field("query.after", "after goes with order=oldest")
	}
	found, err := a.Service.List(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &listOutput{}
	out.Body.Items, out.Body.SearchedUntil = found.Lines, found.Until
	if found.Next != "" {
		out.Body.Next = api.EncodeCursor(found.Next)
	}
	return out, nil
}
