package release

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/audit"
	"github.com/muster/muster/server/internal/task"
	"github.com/muster/muster/server/internal/user"
)

// API is the feature's part of the admin API.
type API struct{ Service *Service }

// releaseBody is a release as admins see it.
type releaseBody struct {
	ID            string          `json:"id"`
	Version       string          `json:"version"`
	State         State           `json:"state" enum:"active,retired"`
	Builds        []releaseBuild  `json:"builds"`
	DowngradeFrom []string        `json:"downgrade_from" doc:"higher versions that may go down to this one"`
	Notes         string          `json:"notes,omitempty"`
	SignedBy      []string        `json:"signed_by" doc:"key ids"`
	Envelope      string          `json:"envelope" doc:"SHA-256 of the signed envelope"`
	Refusal       protocol.Reason `json:"refusal,omitempty" doc:"why devices would refuse it today"`
	IssuedAt      time.Time       `json:"issued_at"`
	ExpiresAt     time.Time       `json:"expires_at" doc:"updates begin before that time"`
	CreatedBy     string          `json:"created_by"`
	CreatedAt     time.Time       `json:"created_at"`
	RetiredAt     *time.Time      `json:"retired_at,omitempty"`
}

type releaseBuild struct {
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	Size        int64  `json:"size" doc:"of the program, in bytes"`
	SHA256      string `json:"sha256" doc:"of the program"`
	ArchiveSize int64  `json:"archive_size" doc:"what a device fetches, in bytes"`
}

type (
	releaseOutput struct{ Body releaseBody }
	idInput       struct {
		ID string `path:"id" maxLength:"36"`
	}
	listInput struct {
		api.PageParams
		Query string `query:"q" maxLength:"64" doc:"in the version"`
		State State  `query:"state" enum:"active,retired"`
	}
	listOutput struct{ Body api.Page[releaseBody] }

	createInput struct {
		Body struct {
			Envelope  []byte   `json:"envelope" doc:"the release, signed with keys of the role release, base64"`
			UploadIDs []string `json:"upload_ids" minItems:"1" maxItems:"16" doc:"finished uploads: the builds, in their order"`
		}
	}

	updateInput struct {
		Body struct {
			ReleaseID        string   `json:"release_id" maxLength:"36"`
			DeviceIDs        []string `json:"device_ids,omitempty" maxItems:"1000" doc:"each must be able to have it"`
			GroupID          string   `json:"group_id,omitempty" maxLength:"36" doc:"or the members of this group; those that cannot have it, or need none, are left out"`
			ProbationSeconds int      `json:"probation_seconds,omitempty" minimum:"0" maximum:"86400" doc:"how long the new agent may take until it has checked in, 10 at least; 600 when 0"`
		}
	}
	updateOutput struct {
		Body struct {
			BatchID string         `json:"batch_id,omitempty" doc:"none when no device was left"`
			Tasks   []task.Task    `json:"tasks" doc:"one per device, the first 1000"`
			Made    int            `json:"made"`
			LeftOut []task.LeftOut `json:"left_out" doc:"members of the group that got no update, the first 1000"`
		}
	}
)

// mostShown bounds the tasks and devices of one answer.
const mostShown = 1000

// maxRegister bounds the JSON around an envelope in base64.
const maxRegister = release.MaxEnvelope*4/3 + 4<<10

// Register adds the operations.
func (a *API) Register(h huma.API) {
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"releases"}}
	}
	create := op("create-release", http.MethodPost, "/releases", "Register a release of the agent that its author signed")
	create.DefaultStatus, create.MaxBodyBytes = http.StatusCreated, maxRegister
	update := op("create-update", http.MethodPost, "/updates", "Bring the agents of devices to a release")
	update.DefaultStatus = http.StatusCreated

	api.Register(h, op("list-releases", http.MethodGet, "/releases", "List releases of the agent, newest first"), a.list)
	api.Register(h, create, a.create)
	api.Register(h, op("get-release", http.MethodGet, "/releases/{id}", "Read a release"), func(ctx context.Context, in *idInput) (*releaseOutput, error) {
		r, err := a.Service.Release(ctx, in.ID)
		return output(ctx, r, err)
	})
	api.Register(h, op("retire-release", http.MethodPost, "/releases/{id}/retire", "Offer a release to nobody any more, and end open updates to it"), func(ctx context.Context, in *idInput) (*releaseOutput, error) {
		r, err := a.Service.Retire(ctx, in.ID)
		return output(ctx, r, err)
	})
	api.Register(h, update, a.update)
}

func (a *API) list(ctx context.Context, in *listInput) (*listOutput, error) {
	after, err := api.DecodeCursor(in.Cursor, 1)
	if err != nil {
		return nil, err
	}
	list, err := a.Service.List(ctx, Query{Search: in.Query, State: in.State, After: append(after, "")[0], Limit: in.Fetch()})
	if err != nil {
		return nil, err
	}
	bodies := make([]releaseBody, len(list))
	for i, r := range list {
		bodies[i] = body(r)
	}
	return &listOutput{Body: api.NewPage(bodies, in.PageParams, func(r releaseBody) []string { return []string{r.ID} })}, nil
}

func (a *API) create(ctx context.Context, in *createInput) (*releaseOutput, error) {
	if len(in.Body.Envelope) == 0 {
		return nil, fault.Field("body.envelope", "the envelope is empty")
	}
	r, err := a.Service.Register(ctx, in.Body.Envelope, in.Body.UploadIDs)
	if err == nil {
		api.ExchangeFrom(ctx).SetTarget(r.Document.ID)
	}
	return output(ctx, r, err)
}

func (a *API) update(ctx context.Context, in *updateInput) (*updateOutput, error) {
	done, err := a.Service.Update(ctx, UpdateRequest{
		ReleaseID: in.Body.ReleaseID, DeviceIDs: in.Body.DeviceIDs, GroupID: in.Body.GroupID,
		ProbationSeconds: in.Body.ProbationSeconds, By: user.FromContext(ctx).Name,
	})
	if err != nil {
		return nil, err
	}
	out := &updateOutput{}
	out.Body.BatchID, out.Body.Made, out.Body.Tasks = done.BatchID, done.Made, []task.Task{}
	out.Body.LeftOut = append([]task.LeftOut{}, done.Left[:min(len(done.Left), mostShown)]...)
	if done.Made > 0 {
		if out.Body.Tasks, err = a.Service.tasks.List(ctx, task.Filter{BatchID: done.BatchID, Limit: mostShown}); err != nil {
			return nil, err
		}
		audit.Detail(ctx, "release", out.Body.Tasks[0].Update.Version)
	}
	audit.Detail(ctx, "devices", strconv.Itoa(done.Made))
	if in.Body.GroupID != "" {
		audit.Detail(ctx, "group", in.Body.GroupID)
	}
	return out, nil
}

// output renders a release unless err is set, and names it in the audit trail.
func output(ctx context.Context, r Release, err error) (*releaseOutput, error) {
	if err != nil {
		return nil, err
	}
	audit.Detail(ctx, "release", r.Document.Version)
	return &releaseOutput{Body: body(r)}, nil
}

func body(r Release) releaseBody {
	d := r.Document
	b := releaseBody{
		ID: d.ID, Version: d.Version, State: r.State, Builds: make([]releaseBuild, len(d.Builds)), Notes: d.Notes,
		DowngradeFrom: append([]string{}, d.DowngradeFrom...), SignedBy: append([]string{}, r.SignedBy...), Envelope: r.Envelope,
		Refusal: r.Refusal, IssuedAt: d.IssuedAt, ExpiresAt: d.ExpiresAt, CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt, RetiredAt: r.RetiredAt,
	}
	for i, build := range d.Builds {
		b.Builds[i] = releaseBuild{OS: build.OS, Arch: build.Arch, Size: build.Size, SHA256: build.SHA256, ArchiveSize: build.Archive.Size}
	}
	return b
}
