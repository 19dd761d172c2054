package trust

import (
	"context"
	"crypto/ed25519"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/trust"
	"github.com/muster/muster/server/internal/api"
)

// API is the admin API of trust. Devices counts those that follow the documents; it may be nil.
type API struct {
	Service *Service
	Devices func(ctx context.Context, version int) (Devices, error)
}

// Devices says how far devices have followed the trust documents. Revoked devices do not count.
type Devices struct {
	Total  int `json:"total"`
	Behind int `json:"behind" doc:"that have not yet confirmed the document in force"`
	Ahead  int `json:"ahead" doc:"that know a newer one: this server was restored from an older backup"`
}

// trustKey is a key as admins see it.
type trustKey struct {
	ID      string       `json:"id" doc:"SHA-256 of the public key"`
	Roles   []trust.Role `json:"roles"`
	AddedAt time.Time    `json:"added_at"`
}

type trustBody struct {
	Version         int                `json:"version"`
	IssuedAt        time.Time          `json:"issued_at"`
	RootFingerprint string             `json:"root_fingerprint"`
	ServerCanSign   bool               `json:"server_can_sign"`
	RootOnServer    bool               `json:"root_on_server" doc:"this server can sign trust documents"`
	Devices         Devices            `json:"devices"`
	Keys            []trustKey         `json:"keys"`
	Thresholds      map[trust.Role]int `json:"thresholds" doc:"how many keys of a role must sign"`
	Revoked         []string           `json:"revoked"`
	Envelope        []byte             `json:"envelope" doc:"the signed document, base64"`
}

type trustOutput struct{ Body trustBody }

type trustPublishInput struct {
	Body struct {
		Envelope []byte `json:"envelope" doc:"a newer document, signed by the present and its own roots; base64"`
	}
}

type trustRevokeInput struct {
	Body struct {
		Names []string `json:"names" minItems:"1" maxItems:"100" doc:"package ids, or SHA-256 digests of instruction payloads"`
	}
}

type trustKeyIDInput struct {
	ID string `path:"id" maxLength:"64" doc:"SHA-256 of the public key"`
}

type trustKeyInput struct {
	Body struct {
		Public []byte       `json:"public" minLength:"1" maxLength:"64" doc:"the raw Ed25519 public key, base64"`
		Roles  []trust.Role `json:"roles" minItems:"1" maxItems:"2" enum:"author,release"`
	}
}

// maxPublish bounds the JSON around a trust document in base64.
const maxPublish = trust.MaxEnvelope*4/3 + 1<<10

// Register adds the operations.
func (a *API) Register(h huma.API) {
	tags := []string{"trust"}
	api.Register(h, huma.Operation{OperationID: "get-trust", Method: http.MethodGet, Path: "/trust", Tags: tags,
		Summary: "Read the trust document"}, a.get)
	api.Register(h, huma.Operation{OperationID: "publish-trust", Method: http.MethodPut, Path: "/trust", Tags: tags,
		Summary: "Publish a newer trust document", MaxBodyBytes: maxPublish}, a.publish)
	api.Register(h, huma.Operation{OperationID: "cosign-trust", Method: http.MethodPost, Path: "/trust/signature", Tags: tags,
		Summary: "Sign the next trust document with the root key on this server, and publish it", MaxBodyBytes: maxPublish}, a.cosign)
	api.Register(h, huma.Operation{OperationID: "rotate-trust-keys", Method: http.MethodPost, Path: "/trust/rotation", Tags: tags,
		Summary: "Replace the root and server key on this server by new ones"}, a.rotate)
	api.Register(h, huma.Operation{OperationID: "remove-trust-key", Method: http.MethodDelete, Path: "/trust/keys/{id}", Tags: tags,
		Summary: "Trust a key no longer, with the root key on this server", DefaultStatus: http.StatusOK}, a.removeKey)
	api.Register(h, huma.Operation{OperationID: "add-trust-key", Method: http.MethodPost, Path: "/trust/keys", Tags: tags,
		Summary: "Trust one more key, with the root key on this server"}, a.addKey)
	api.Register(h, huma.Operation{OperationID: "revoke-instructions", Method: http.MethodPost, Path: "/trust/revocations", Tags: tags,
		Summary: "Revoke instructions, with the root key on this server"}, a.revoke)
}

func (a *API) get(ctx context.Context, _ *struct{}) (*trustOutput, error) {
	return a.output(ctx, nil)
}

func (a *API) publish(ctx context.Context, in *trustPublishInput) (*trustOutput, error) {
	return a.output(ctx, a.Service.Publish(ctx, in.Body.Envelope))
}

func (a *API) cosign(ctx context.Context, in *trustPublishInput) (*trustOutput, error) {
	return a.output(ctx, a.Service.Cosign(ctx, in.Body.Envelope))
}

func (a *API) rotate(ctx context.Context, _ *struct{}) (*trustOutput, error) {
	return a.output(ctx, a.Service.Rotate(ctx))
}

func (a *API) revoke(ctx context.Context, in *trustRevokeInput) (*trustOutput, error) {
	return a.output(ctx, a.Service.Revoke(ctx, in.Body.Names...))
}

func (a *API) removeKey(ctx context.Context, in *trustKeyIDInput) (*trustOutput, error) {
	return a.output(ctx, a.Service.RemoveKey(ctx, in.ID))
}

func (a *API) addKey(ctx context.Context, in *trustKeyInput) (*trustOutput, error) {
	if len(in.Body.Public) != ed25519.PublicKeySize {
		return nil, fault.Field("body.public", "an Ed25519 public key has %d bytes, not %d", ed25519.PublicKeySize, len(in.Body.Public))
	}
	return a.output(ctx, a.Service.AddKey(ctx, trust.Key{ID: trust.KeyID(in.Body.Public), Public: in.Body.Public, Roles: in.Body.Roles}))
}

// output renders the document in force, unless err is set.
func (a *API) output(ctx context.Context, err error) (*trustOutput, error) {
	if err != nil {
		return nil, err
	}
	doc := a.Service.Current()
	out := trustBody{
		Version: doc.Version, IssuedAt: doc.IssuedAt, RootFingerprint: a.Service.RootFingerprint(),
		ServerCanSign: a.Service.CanSign(), RootOnServer: a.Service.HasRoot(), Keys: []trustKey{}, Thresholds: map[trust.Role]int{},
		Revoked: append([]string{}, doc.Revoked...),
	}
	for _, k := range doc.Keys {
		out.Keys = append(out.Keys, trustKey{ID: k.ID, Roles: k.Roles, AddedAt: a.Service.addedAt(k.ID)})
	}
	for _, r := range trust.Roles() {
		out.Thresholds[r] = doc.Threshold(r)
	}
	if newest := a.Service.ChainSince(doc.Version - 1); len(newest) > 0 {
		out.Envelope = newest[0]
	}
	if a.Devices != nil {
		if out.Devices, err = a.Devices(ctx, doc.Version); err != nil {
			return nil, err
		}
	}
	return &trustOutput{Body: out}, nil
}
