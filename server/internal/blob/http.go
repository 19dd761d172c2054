package blob

import (
	"context"
	"io"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/api"
)

// API is the admin API of uploads.
type API struct{ Service *Service }

type uploadOutput struct{ Body Upload }

type uploadID struct {
	ID string `path:"id" maxLength:"36"`
}

type uploadCreateInput struct {
	Body struct {
		FileName string `json:"file_name" minLength:"1" maxLength:"1024"`
		Size     int64  `json:"size" minimum:"1"`
	}
}

// uploadAppendInput hands the body on as a stream: huma would read it into memory.
type uploadAppendInput struct {
	ID     string `path:"id" maxLength:"36"`
	Offset int64  `header:"Upload-Offset" required:"true" minimum:"0"`

	body   io.Reader
	length int64 // -1 when the request does not say
}

// Resolve implements huma.Resolver.
//
//fuzz:by server/internal/httpapi.FuzzRequests
func (in *uploadAppendInput) Resolve(ctx huma.Context) []error {
	in.body, in.length = ctx.BodyReader(), -1
	if n, err := strconv.ParseInt(ctx.Header("Content-Length"), 10, 64); err == nil {
		in.length = n
	}
	return nil
}

type uploadFinishInput struct {
	ID   string `path:"id" maxLength:"36"`
	Body struct {
		SHA256 string `json:"sha256" minLength:"64" maxLength:"64" doc:"of the whole file, lower-case hex"`
	}
}

// Register adds the operations.
func (a *API) Register(h huma.API) {
	tags := []string{"uploads"}
	api.Register(h, huma.Operation{OperationID: "create-upload", Method: http.MethodPost, Path: "/uploads", Tags: tags,
		Summary: "Begin an upload", DefaultStatus: http.StatusCreated}, a.create)
	api.Register(h, huma.Operation{OperationID: "get-upload", Method: http.MethodGet, Path: "/uploads/{id}", Tags: tags,
		Summary: "Read an upload and the offset to go on from"}, a.get)
	api.Register(h, huma.Operation{OperationID: "append-upload", Method: http.MethodPatch, Path: "/uploads/{id}", Tags: tags,
		Summary:      "Send octets at an offset",
		Description:  "At most 268435456 octets per request. What arrived before an error is kept; the upload's offset says how much.",
		MaxBodyBytes: -1, // streamed, and bounded by the service
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}},
		}}}, a.append)
	api.Register(h, huma.Operation{OperationID: "finish-upload", Method: http.MethodPost, Path: "/uploads/{id}/finish", Tags: tags,
		Summary: "End an upload: check its digest, look into the archive"}, a.finish)
	api.Register(h, huma.Operation{OperationID: "delete-upload", Method: http.MethodDelete, Path: "/uploads/{id}", Tags: tags,
		Summary: "Forget an upload", DefaultStatus: http.StatusNoContent}, a.delete)
}

func (a *API) create(ctx context.Context, in *uploadCreateInput) (*uploadOutput, error) {
	u, err := a.Service.Create(ctx, in.Body.FileName, in.Body.Size)
	if err != nil {
		return nil, err
	}
	api.ExchangeFrom(ctx).SetTarget(u.ID)
	api.ExchangeFrom(ctx).Detail("file_name", u.FileName)
	return &uploadOutput{Body: u}, nil
}

func (a *API) get(ctx context.Context, in *uploadID) (*uploadOutput, error) {
	u, err := a.Service.Upload(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &uploadOutput{Body: u}, nil
}

func (a *API) append(ctx context.Context, in *uploadAppendInput) (*uploadOutput, error) {
	if in.length > MaxPatch {
		return nil, fault.New(fault.TooLarge, "one request may carry %d octets, this one has %d: send the file in parts", MaxPatch, in.length)
	}
	u, err := a.Service.Append(ctx, in.ID, in.Offset, in.body)
	if err != nil {
		return nil, err
	}
	return &uploadOutput{Body: u}, nil
}

func (a *API) finish(ctx context.Context, in *uploadFinishInput) (*uploadOutput, error) {
	u, err := a.Service.Finish(ctx, in.ID, in.Body.SHA256)
	if err != nil {
		return nil, err
	}
	return &uploadOutput{Body: u}, nil
}

func (a *API) delete(ctx context.Context, in *uploadID) (*struct{}, error) {
	return nil, a.Service.Delete(ctx, in.ID)
}
