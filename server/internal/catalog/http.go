package catalog

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
)

// API is the admin API of packages.
type API struct{ Service *Service }

// PackageFields are what an author decides, in requests and answers alike. The name is exported because
// huma passes over embedded structs that are not.
type PackageFields struct {
	Name    string             `json:"name" minLength:"1" maxLength:"120"`
	Version string             `json:"version" minLength:"1" maxLength:"64"`
	Action  instruction.Action `json:"action" enum:"launch,execute,store"`
	Command []string           `json:"command,omitempty" maxItems:"256" doc:"argument vector; for launch the first names a file of the archive"`
	Env     map[string]string  `json:"env,omitempty"`
	Rerun   instruction.Rerun  `json:"rerun,omitempty" enum:"never,safe" doc:"whether an interrupted attempt may run again"`
	Private bool               `json:"private,omitempty" doc:"fragments are never shared between devices"`
	Retry   *instruction.Retry `json:"retry,omitempty"`

	StorePath        string                    `json:"store_path,omitempty" doc:"absolute path on the device, for store"`
	TimeLimitSeconds int                       `json:"time_limit_seconds,omitempty" minimum:"0" maximum:"86400" doc:"of the command; 600 when 0"`
	ExitCodes        []instruction.ExitCode    `json:"exit_codes,omitempty" maxItems:"256"`
	Detect           *instruction.Detection    `json:"detect,omitempty"`
	Requires         *instruction.Requirements `json:"requires,omitempty"`
	NeedsCleanBoot   bool                      `json:"needs_clean_boot,omitempty"`
}

func (f PackageFields) spec(priority *int) instruction.Spec {
	return instruction.Spec{
		Name: f.Name, Version: f.Version, Priority: priority, Action: f.Action, Command: f.Command, StorePath: f.StorePath,
		TimeLimitSeconds: f.TimeLimitSeconds, Env: f.Env, ExitCodes: f.ExitCodes, Detect: f.Detect, Requires: f.Requires,
		Retry: f.Retry, Rerun: f.Rerun, NeedsCleanBoot: f.NeedsCleanBoot, Private: f.Private,
	}
}

func fieldsOf(s instruction.Spec) PackageFields {
	f := PackageFields{
		Name: s.Name, Version: s.Version, Action: s.Action, Command: s.Command, StorePath: s.StorePath,
		TimeLimitSeconds: s.TimeLimitSeconds, Env: s.Env, ExitCodes: s.ExitCodes, Detect: s.Detect, Requires: s.Requires,
		Retry: s.Retry, Rerun: s.Rerun, NeedsCleanBoot: s.NeedsCleanBoot, Private: s.Private,
	}
	if f.TimeLimitSeconds == 0 {
		f.TimeLimitSeconds = int(instruction.DefaultLimit / time.Second)
	}
	return f
}

// packageBody is a package as admins see it.
type packageBody struct {
	ID string `json:"id"`
	PackageFields
	Priority          int              `json:"priority" minimum:"0" maximum:"10"`
	State             State            `json:"state" enum:"draft,active,retired"`
	Signed            bool             `json:"signed"`
	SignedBy          []string         `json:"signed_by" doc:"key ids"`
	IssuedAt          *time.Time       `json:"issued_at,omitempty"`
	ExpiresAt         *time.Time       `json:"expires_at,omitempty"`
	InstructionDigest string           `json:"instruction_digest,omitempty" doc:"SHA-256 of the signed envelope"`
	Refusal           protocol.Reason  `json:"refusal,omitempty" doc:"why devices would refuse this signature today: it must be signed again"`
	Partial           *packagePartial  `json:"partial,omitempty" doc:"signatures of an instruction that needs more of them"`
	Archive           *packageArchive  `json:"archive,omitempty"`
	CreatedAt         time.Time        `json:"created_at"`
	CreatedBy         string           `json:"created_by"`
	ActivatedAt       *time.Time       `json:"activated_at,omitempty"`
	RetiredAt         *time.Time       `json:"retired_at,omitempty"`
	Deployments       DeploymentCounts `json:"deployments"`
}

type packagePartial struct {
	SignedBy  []string  `json:"signed_by" doc:"key ids"`
	Needed    int       `json:"needed"`
	ExpiresAt time.Time `json:"expires_at"`
}

type packageArchive struct {
	Format    string `json:"format" enum:"zip,tar.gz"`
	Size      int64  `json:"size"`
	SHA256    string `json:"sha256"`
	Fragments int    `json:"fragments"`
}

type packageOutput struct{ Body packageBody }

type packageID struct {
	ID string `path:"id" maxLength:"36"`
}

type packageCreateInput struct {
	Body struct {
		PackageFields
		Priority *int   `json:"priority,omitempty" minimum:"0" maximum:"10" doc:"0 is the most urgent; 5 when left out"`
		UploadID string `json:"upload_id,omitempty" maxLength:"36" doc:"of a finished upload: the archive"`
	}
}

type packageListInput struct {
	api.PageParams
	Query string `query:"q" maxLength:"200" doc:"in name and version"`
	State State  `query:"state" enum:"draft,active,retired"`
}

type packageListOutput struct{ Body api.Page[packageBody] }

type packageSignInput struct {
	ID   string `path:"id" maxLength:"36"`
	Body *struct {
		ExpiresInDays int `json:"expires_in_days,omitempty" minimum:"0" maximum:"3650" doc:"365 when 0"`
	}
}

type packageInstructionOutput struct {
	Body struct {
		Payload  []byte `json:"payload" doc:"what the server would sign, base64; empty for a retired package"`
		Envelope []byte `json:"envelope,omitempty" doc:"the signed instruction, base64"`
		Partial  []byte `json:"partial,omitempty" doc:"an instruction that waits for more authors to sign it, base64"`
	}
}

type packageInstructionInput struct {
	ID   string `path:"id" maxLength:"36"`
	Body struct {
		Envelope []byte `json:"envelope" doc:"signed by an author, base64"`
	}
}

// maxInstruction bounds the JSON around an envelope in base64.
const maxInstruction = instruction.MaxEnvelope*4/3 + 1<<10

// Register adds the operations.
func (a *API) Register(h huma.API) {
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"packages"}}
	}
	create := op("create-package", http.MethodPost, "/packages", "Make a draft")
	create.DefaultStatus = http.StatusCreated
	remove := op("delete-package", http.MethodDelete, "/packages/{id}", "Delete a draft")
	remove.DefaultStatus = http.StatusNoContent
	put := op("put-instruction", http.MethodPut, "/packages/{id}/instruction", "Hand in an instruction that an author signed")
	put.MaxBodyBytes = maxInstruction

	api.Register(h, op("list-packages", http.MethodGet, "/packages", "List packages, newest first"), a.list)
	api.Register(h, create, a.create)
	api.Register(h, op("get-package", http.MethodGet, "/packages/{id}", "Read a package"), a.get)
	api.Register(h, remove, a.delete)
	api.Register(h, op("get-instruction", http.MethodGet, "/packages/{id}/instruction", "Read the instruction, as drafted and as signed"), a.instruction)
	api.Register(h, put, a.putInstruction)
	api.Register(h, op("sign-package", http.MethodPost, "/packages/{id}/sign", "Sign with the server's key"), a.sign)
	api.Register(h, op("activate-package", http.MethodPost, "/packages/{id}/activate", "Make a signed package assignable"), a.activate)
	api.Register(h, op("retire-package", http.MethodPost, "/packages/{id}/retire", "Offer a package to nobody any more"), a.retire)
}

func (a *API) list(ctx context.Context, in *packageListInput) (*packageListOutput, error) {
	cursor, err := api.DecodeCursor(in.Cursor, 1)
	if err != nil {
		return nil, err
	}
	q := Query{Search: in.Query, State: in.State, Limit: in.Fetch()}
	if cursor != nil {
		q.After = cursor[0]
	}
	list, err := a.Service.List(ctx, q)
	if err != nil {
		return nil, err
	}
	page := api.NewPage(list, in.PageParams, func(p Package) []string { return []string{p.ID} })
	bodies, err := a.bodies(ctx, page.Items...)
	if err != nil {
		return nil, err
	}
	return &packageListOutput{Body: api.Page[packageBody]{Items: bodies, Next: page.Next}}, nil
}

func (a *API) create(ctx context.Context, in *packageCreateInput) (*packageOutput, error) {
	p, err := a.Service.Create(ctx, in.Body.spec(in.Body.Priority), in.Body.UploadID)
	if err == nil {
		api.ExchangeFrom(ctx).SetTarget(p.ID)
	}
	return a.output(ctx, p, err)
}

func (a *API) get(ctx context.Context, in *packageID) (*packageOutput, error) {
	p, err := a.Service.Package(ctx, in.ID)
	return a.output(ctx, p, err)
}

func (a *API) delete(ctx context.Context, in *packageID) (*struct{}, error) {
	return nil, a.Service.Delete(ctx, in.ID)
}

func (a *API) instruction(ctx context.Context, in *packageID) (*packageInstructionOutput, error) {
	payload, envelope, partial, err := a.Service.Instruction(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &packageInstructionOutput{}
	out.Body.Payload, out.Body.Envelope = append([]byte{}, payload...), envelope
	out.Body.Partial = partial
	return out, nil
}

func (a *API) putInstruction(ctx context.Context, in *packageInstructionInput) (*packageOutput, error) {
	if len(in.Body.Envelope) == 0 {
		return nil, fault.Field("body.envelope", "the envelope is empty")
	}
	p, err := a.Service.PutInstruction(ctx, in.ID, in.Body.Envelope)
	return a.output(ctx, p, err)
}

func (a *API) sign(ctx context.Context, in *packageSignInput) (*packageOutput, error) {
	var validFor time.Duration
	if in.Body != nil {
		validFor = time.Duration(in.Body.ExpiresInDays) * 24 * time.Hour
	}
	p, err := a.Service.Sign(ctx, in.ID, validFor)
	return a.output(ctx, p, err)
}

func (a *API) activate(ctx context.Context, in *packageID) (*packageOutput, error) {
	p, err := a.Service.Activate(ctx, in.ID)
	return a.output(ctx, p, err)
}

func (a *API) retire(ctx context.Context, in *packageID) (*packageOutput, error) {
	p, err := a.Service.Retire(ctx, in.ID)
	return a.output(ctx, p, err)
}

// output renders a package unless err is set, and names it in the audit trail.
func (a *API) output(ctx context.Context, p Package, err error) (*packageOutput, error) {
	if err != nil {
		return nil, err
	}
	api.ExchangeFrom(ctx).Detail("package", p.Spec.Name+" "+p.Spec.Version)
	bodies, err := a.bodies(ctx, p)
	if err != nil {
		return nil, err
	}
	return &packageOutput{Body: bodies[0]}, nil
}

// bodies renders packages together with the counts of their deployments.
func (a *API) bodies(ctx context.Context, list ...Package) ([]packageBody, error) {
	ids := make([]string, len(list))
	for n, p := range list {
		ids[n] = p.ID
	}
	counts, err := a.Service.deployments(ctx, ids)
	if err != nil {
		return nil, err
	}
	partials, err := a.Service.partials(ctx, ids)
	if err != nil {
		return nil, err
	}
	bodies := make([]packageBody, len(list))
	for n, p := range list {
		bodies[n] = packageBody{
			ID: p.ID, PackageFields: fieldsOf(p.Spec), Priority: p.Priority(), State: p.State, Signed: p.Signed(),
			SignedBy: append([]string{}, p.SignedBy...), IssuedAt: p.IssuedAt, ExpiresAt: p.ExpiresAt,
			InstructionDigest: p.InstructionDigest, CreatedAt: p.CreatedAt, CreatedBy: p.CreatedBy,
			ActivatedAt: p.ActivatedAt, RetiredAt: p.RetiredAt, Deployments: counts[p.ID], Refusal: a.Service.Refusal(p),
		}
		if partial := partials[p.ID]; partial != nil {
			bodies[n].Partial = &packagePartial{SignedBy: partial.SignedBy, Needed: partial.Needed, ExpiresAt: partial.ExpiresAt}
		}
		if p.ArchiveFormat != "" {
			bodies[n].Archive = &packageArchive{Format: p.ArchiveFormat, Size: p.ArchiveSize, SHA256: p.ArchiveSHA256, Fragments: p.ArchiveFragments}
		}
	}
	return bodies, nil
}
