package deploy

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/audit"
	"github.com/muster/muster/server/internal/user"
)

// mostShown bounds the deployments listed with one assignment.
const mostShown = 1000

// AssignmentView is an assignment as the admin API shows it.
type AssignmentView struct {
	ID             string               `json:"id"`
	PackageID      string               `json:"package_id"`
	PackageName    string               `json:"package_name"`
	PackageVersion string               `json:"package_version"`
	All            bool                 `json:"all,omitempty" doc:"made for all devices there were"`
	DeviceCount    int                  `json:"device_count" doc:"deployments that it made"`
	NotBefore      *time.Time           `json:"not_before,omitempty"`
	CreatedBy      string               `json:"created_by"`
	CreatedAt      time.Time            `json:"created_at"`
	UnassignedAt   *time.Time           `json:"unassigned_at,omitempty"`
	Deployments    []AssignedDeployment `json:"deployments,omitempty" doc:"at most 1000; only when one assignment is asked for or made"`
}

// AssignedDeployment is one deployment of an assignment.
type AssignedDeployment struct {
	ID       string `json:"id"`
	DeviceID string `json:"device_id"`
	Hostname string `json:"hostname"`
}

func (a Assignment) view() AssignmentView {
	return AssignmentView{
		ID: a.ID, PackageID: a.PackageID, PackageName: a.PackageName, PackageVersion: a.PackageVersion, All: a.AllDevices,
		DeviceCount: a.DeviceCount, NotBefore: a.NotBefore, CreatedBy: a.CreatedBy, CreatedAt: a.CreatedAt, UnassignedAt: a.UnassignedAt,
	}
}

type (
	assignInput struct {
		Body struct {
			PackageID string     `json:"package_id" minLength:"1" maxLength:"64"`
			DeviceIDs []string   `json:"device_ids,omitempty" maxItems:"10000" doc:"or all"`
			All       bool       `json:"all,omitempty"`
			NotBefore *time.Time `json:"not_before,omitempty"`
		}
	}
	assignmentOutput    struct{ Body AssignmentView }
	assignmentList      struct{ Body api.Page[AssignmentView] }
	listAssignmentInput struct {
		api.PageParams
		PackageID string `query:"package_id" maxLength:"64"`
	}
)

func (a *API) registerAssignments(h huma.API) {
	tags := []string{"assignments"}
	api.Register(h, huma.Operation{
		OperationID: "create-assignment", Method: http.MethodPost, Path: "/assignments", Tags: tags,
		Summary: "Give an active package to devices", DefaultStatus: http.StatusCreated,
	}, a.assign)
	api.Register(h, huma.Operation{
		OperationID: "list-assignments", Method: http.MethodGet, Path: "/assignments", Tags: tags,
		Summary: "List assignments, the newest first",
	}, a.listAssignments)
	api.Register(h, huma.Operation{
		OperationID: "get-assignment", Method: http.MethodGet, Path: "/assignments/{id}", Tags: tags, Summary: "Show an assignment",
	}, func(ctx context.Context, in *idInput) (*assignmentOutput, error) {
		found, err := a.service.Assignment(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return a.showAssignment(ctx, found)
	})
	api.Register(h, huma.Operation{
		OperationID: "delete-assignment", Method: http.MethodDelete, Path: "/assignments/{id}", Tags: tags,
		Summary: "Take an assignment back: its open deployments end as unassigned", DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *idInput) (*struct{}, error) {
		return nil, a.service.Unassign(ctx, in.ID, user.FromContext(ctx).Name)
	})
}

func (a *API) assign(ctx context.Context, in *assignInput) (*assignmentOutput, error) {
	made, err := a.service.Assign(ctx, AssignRequest{
		PackageID: in.Body.PackageID, DeviceIDs: in.Body.DeviceIDs, All: in.Body.All, NotBefore: in.Body.NotBefore,
		By: user.FromContext(ctx).Name,
	})
	if err != nil {
		return nil, err
	}
	audit.Detail(ctx, "package", made.PackageName+" "+made.PackageVersion)
	audit.Detail(ctx, "devices", strconv.Itoa(made.DeviceCount))
	return a.showAssignment(ctx, made)
}

func (a *API) showAssignment(ctx context.Context, found Assignment) (*assignmentOutput, error) {
	rows, err := a.service.store.assigned(ctx, found.ID, mostShown)
	if err != nil {
		return nil, err
	}
	out := &assignmentOutput{Body: found.view()}
	for _, r := range rows {
		out.Body.Deployments = append(out.Body.Deployments, AssignedDeployment{ID: r.ID, DeviceID: r.DeviceID, Hostname: r.Hostname})
	}
	return out, nil
}

func (a *API) listAssignments(ctx context.Context, in *listAssignmentInput) (*assignmentList, error) {
	before, err := api.DecodeCursor(in.Cursor, 1)
	if err != nil {
		return nil, err
	}
	found, err := a.service.Assignments(ctx, in.PackageID, append(before, "")[0], in.Fetch())
	if err != nil {
		return nil, err
	}
	views := make([]AssignmentView, len(found))
	for i, f := range found {
		views[i] = f.view()
	}
	return &assignmentList{Body: api.NewPage(views, in.PageParams, func(v AssignmentView) []string { return []string{v.ID} })}, nil
}
