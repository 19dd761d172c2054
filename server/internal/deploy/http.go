package deploy

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/audit"
	"github.com/muster/muster/server/internal/user"
)

// API is the feature's part of the admin API.
type API struct{ service *Service }

// NewAPI makes the API.
func NewAPI(s *Service) *API { return &API{s} }

type (
	idInput struct {
		ID string `path:"id" maxLength:"64"`
	}
	deploymentOutput struct{ Body Deployment }
	deploymentList   struct{ Body api.Page[Deployment] }
	listInput        struct {
		api.PageParams
		DeviceID     string `query:"device_id" maxLength:"64"`
		PackageID    string `query:"package_id" maxLength:"64"`
		AssignmentID string `query:"assignment_id" maxLength:"64"`
		State        string `query:"state" enum:"assigned,waiting,accepted,fetching,fetched,unpacked,started,succeeded,failed,refused,interrupted,not_applicable,cancelled,unassigned"`
		Open         string `query:"open" enum:"true,false"`
	}
)

// Register adds the operations.
func (a *API) Register(h huma.API) {
	tags := []string{"deployments"}
	api.Register(h, huma.Operation{
		OperationID: "list-deployments", Method: http.MethodGet, Path: "/deployments", Tags: tags,
		Summary: "List deployments, the newest first",
	}, a.list)
	api.Register(h, huma.Operation{
		OperationID: "get-deployment", Method: http.MethodGet, Path: "/deployments/{id}", Tags: tags,
		Summary: "Show a deployment with its timeline",
	}, a.get)
	api.Register(h, huma.Operation{
		OperationID: "retry-deployment", Method: http.MethodPost, Path: "/deployments/{id}/retry", Tags: tags,
		Summary: "Start a new attempt of a deployment that is over or waits",
	}, func(ctx context.Context, in *idInput) (*deploymentOutput, error) {
		return a.change(ctx, in, a.service.Retry)
	})
	api.Register(h, huma.Operation{
		OperationID: "cancel-deployment", Method: http.MethodPost, Path: "/deployments/{id}/cancel", Tags: tags,
		Summary: "End a deployment; a command that has started is not stopped",
	}, func(ctx context.Context, in *idInput) (*deploymentOutput, error) {
		return a.change(ctx, in, a.service.Cancel)
	})
	a.registerAssignments(h)
}

func (a *API) list(ctx context.Context, in *listInput) (*deploymentList, error) {
	before, err := api.DecodeCursor(in.Cursor, 1)
	if err != nil {
		return nil, err
	}
	f := Filter{
		DeviceID: in.DeviceID, PackageID: in.PackageID, AssignmentID: in.AssignmentID, State: in.State,
		Before: append(before, "")[0], Limit: in.Fetch(),
	}
	if in.Open != "" {
		open := in.Open == "true"
		f.Open = &open
	}
	found, err := a.service.List(ctx, f)
	if err != nil {
		return nil, err
	}
	return &deploymentList{Body: api.NewPage(found, in.PageParams, func(d Deployment) []string { return []string{d.ID} })}, nil
}

func (a *API) get(ctx context.Context, in *idInput) (*deploymentOutput, error) {
	d, err := a.service.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &deploymentOutput{Body: d}, nil
}

func (a *API) change(ctx context.Context, in *idInput, do func(ctx context.Context, id, who string) error) (*deploymentOutput, error) {
	if err := do(ctx, in.ID, user.FromContext(ctx).Name); err != nil {
		return nil, err
	}
	out, err := a.get(ctx, in)
	if err == nil {
		audit.Detail(ctx, "package", out.Body.PackageName+" "+out.Body.PackageVersion)
		audit.Detail(ctx, "device", out.Body.Hostname)
	}
	return out, err
}
