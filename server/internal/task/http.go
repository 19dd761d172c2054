package task

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/audit"
	"github.com/muster/muster/server/internal/user"
)

// API is the feature's part of the admin API.
type API struct{ service *Service }

// NewAPI makes the API.
func NewAPI(s *Service) *API { return &API{s} }

// mostNamed bounds the programs that one audit row names.
const mostNamed = 20

// FilterParams are the query parameters that narrow a list of tasks.
type FilterParams struct {
	Kind  string `query:"kind" enum:"inventory,update,uninstall,remove,module"`
	State string `query:"state" enum:"assigned,accepted,started,waiting,succeeded,failed,refused,interrupted,expired,not_applicable,cancelled"`
	Open  string `query:"open" enum:"true,false"`
}

type (
	idInput struct {
		ID string `path:"id" maxLength:"64"`
	}
	taskOutput struct{ Body Task }
	listInput  struct {
		api.PageParams
		FilterParams
		DeviceID  string `query:"device_id" maxLength:"64"`
		BatchID   string `query:"batch_id" maxLength:"64"`
		ReleaseID string `query:"release_id" maxLength:"64" doc:"updates to this release"`
	}
	ofDeviceInput struct {
		ID string `path:"id" maxLength:"64"`
		api.PageParams
		FilterParams
	}
	listOutput     struct{ Body api.Page[Task] }
	uninstallInput struct {
		Body struct {
			DeviceIDs     []string `json:"device_ids" minItems:"1" maxItems:"1000"`
			Software      []string `json:"software" minItems:"1" maxItems:"100" doc:"keys; each device gets those that it has reported"`
			StopAtFailure bool     `json:"stop_at_failure,omitempty" doc:"leave the rest alone after the first that was not removed, though it was there"`
			LimitSeconds  int      `json:"limit_seconds,omitempty" minimum:"0" maximum:"86400" doc:"for each program; 0 is ten minutes"`
		}
	}
	uninstallOutput struct {
		Body struct {
			BatchID string `json:"batch_id"`
			Tasks   []Task `json:"tasks" doc:"one per device"`
		}
	}
	moduleInput struct {
		ID   string `path:"id" maxLength:"64"`
		Name string `path:"name" maxLength:"32" doc:"as in the facts of the device, without \"module:\""`
		Body struct {
			Parameters map[string]any `json:"parameters,omitempty" doc:"they take the place of the module's own of the same names; the module's JSON Schema, on the device, must allow them"`
		}
	}
	inventoryInput struct {
		ID   string `path:"id" maxLength:"64"`
		Body struct {
			Sections []string `json:"sections,omitempty" maxItems:"64" doc:"names; none for all"`
		}
	}
)

// Register adds the operations.
func (a *API) Register(h huma.API) {
	tags := []string{"tasks"}
	api.Register(h, huma.Operation{
		OperationID: "list-tasks", Method: http.MethodGet, Path: "/tasks", Tags: tags,
		Summary: "List tasks that are not deployments, the newest first",
	}, func(ctx context.Context, in *listInput) (*listOutput, error) {
		f := in.filter(in.DeviceID, in.BatchID)
		f.ReleaseID = in.ReleaseID
		return a.list(ctx, in.PageParams, f, a.service.List)
	})
	api.Register(h, huma.Operation{
		OperationID: "list-device-tasks", Method: http.MethodGet, Path: "/devices/{id}/tasks", Tags: tags,
		Summary: "List a device's tasks that are not deployments, the newest first",
	}, func(ctx context.Context, in *ofDeviceInput) (*listOutput, error) {
		return a.list(ctx, in.PageParams, in.filter(in.ID, ""), a.service.OfDevice)
	})
	api.Register(h, huma.Operation{
		OperationID: "get-task", Method: http.MethodGet, Path: "/tasks/{id}", Tags: tags, Summary: "Show a task with its timeline",
	}, func(ctx context.Context, in *idInput) (*taskOutput, error) { return a.show(ctx, in.ID, nil) })
	api.Register(h, huma.Operation{
		OperationID: "cancel-task", Method: http.MethodPost, Path: "/tasks/{id}/cancel", Tags: tags,
		Summary: "End a task; what the device has begun of it is not stopped",
	}, func(ctx context.Context, in *idInput) (*taskOutput, error) {
		return a.show(ctx, in.ID, a.service.Cancel(ctx, in.ID, user.FromContext(ctx).Name))
	})
	api.Register(h, huma.Operation{
		OperationID: "create-uninstall", Method: http.MethodPost, Path: "/uninstalls", Tags: tags,
		Summary: "Uninstall programs from devices", DefaultStatus: http.StatusCreated,
	}, a.uninstall)
	api.Register(h, huma.Operation{
		OperationID: "request-inventory", Method: http.MethodPost, Path: "/devices/{id}/inventory", Tags: tags,
		Summary: "Ask a device for an inventory now", DefaultStatus: http.StatusAccepted,
	}, func(ctx context.Context, in *inventoryInput) (*taskOutput, error) {
		id, err := a.service.Inventory(ctx, in.ID, in.Body.Sections, user.FromContext(ctx).Name)
		return a.show(ctx, id, err)
	})
	api.Register(h, huma.Operation{
		OperationID: "run-device-module", Method: http.MethodPost, Path: "/devices/{id}/modules/{name}/run", Tags: tags,
		Summary: "Ask a device to run a module from outside now; its rows become the section module-NAME of the inventory", DefaultStatus: http.StatusAccepted,
	}, func(ctx context.Context, in *moduleInput) (*taskOutput, error) {
		id, err := a.service.Module(ctx, in.ID, in.Name, in.Body.Parameters, user.FromContext(ctx).Name)
		audit.Detail(ctx, "module", in.Name)
		return a.show(ctx, id, err)
	})
	api.Register(h, huma.Operation{
		OperationID: "remove-device", Method: http.MethodPost, Path: "/devices/{id}/remove", Tags: tags,
		Summary: "Ask a device's agent to leave this server, and its computer when this was its last", DefaultStatus: http.StatusAccepted,
	}, func(ctx context.Context, in *idInput) (*taskOutput, error) {
		id, err := a.service.Remove(ctx, in.ID, user.FromContext(ctx).Name)
		return a.show(ctx, id, err)
	})
}

func (p FilterParams) filter(deviceID, batchID string) Filter {
	f := Filter{DeviceID: deviceID, BatchID: batchID, Kind: p.Kind, State: p.State}
	if p.Open != "" {
		open := p.Open == "true"
		f.Open = &open
	}
	return f
}

func (a *API) list(ctx context.Context, page api.PageParams, f Filter, list func(context.Context, Filter) ([]Task, error)) (*listOutput, error) {
	before, err := api.DecodeCursor(page.Cursor, 1)
	if err != nil {
		return nil, err
	}
	f.Before, f.Limit = append(before, "")[0], page.Fetch()
	found, err := list(ctx, f)
	if err != nil {
		return nil, err
	}
	return &listOutput{Body: api.NewPage(found, page, func(t Task) []string { return []string{t.ID} })}, nil
}

// show is the answer about one task, unless what was done to it failed.
func (a *API) show(ctx context.Context, id string, err error) (*taskOutput, error) {
	if err != nil {
		return nil, err
	}
	t, err := a.service.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	audit.Detail(ctx, "task", t.Kind+" "+t.ID)
	audit.Detail(ctx, "device", t.Hostname)
	return &taskOutput{Body: t}, nil
}

func (a *API) uninstall(ctx context.Context, in *uninstallInput) (*uninstallOutput, error) {
	batchID, err := a.service.Uninstall(ctx, UninstallRequest{
		DeviceIDs: in.Body.DeviceIDs, Software: in.Body.Software, StopAtFailure: in.Body.StopAtFailure,
		LimitSeconds: in.Body.LimitSeconds, By: user.FromContext(ctx).Name,
	})
	if err != nil {
		return nil, err
	}
	out := &uninstallOutput{}
	out.Body.BatchID = batchID
	if out.Body.Tasks, err = a.service.List(ctx, Filter{BatchID: batchID, Limit: mostDevices}); err != nil {
		return nil, err
	}
	audit.Detail(ctx, "devices", strconv.Itoa(len(out.Body.Tasks)))
	audit.Detail(ctx, "programs", strconv.Itoa(len(in.Body.Software)))
	for i, key := range in.Body.Software[:min(len(in.Body.Software), mostNamed)] {
		audit.Detail(ctx, "software "+strconv.Itoa(i+1), key)
	}
	return out, nil
}
