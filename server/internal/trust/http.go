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

// API is the admin API of trust.
type API struct{ Service *Service }

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
	api.Register(h, huma.Operation{OperationID: "add-trust-key", Method: http.MethodPost, Path: "/trust/keys", Tags: tags,
		Summary: "Trust one more key, with the root key on this server"}, a.addKey)
	api.Register(h, huma.Operation{OperationID: "revoke-instructions", Method: http.MethodPost, Path: "/trust/revocations", Tags: tags,
		Summary: "Revoke instructions, with the root key on this server"}, a.revoke)
}

func (a *API) get(context.Context, *struct{}) (*trustOutput, error) {
	return a.output(), nil
}

func (a *API) publish(ctx context.Context, in *trustPublishInput) (*trustOutput, error) {
	if err := a.Service.Publish(ctx, in.Body.Envelope); err != nil {
		return nil, err
	}
	return a.output(), nil
}

func (a *API) revoke(ctx context.Context, in *trustRevokeInput) (*trustOutput, error) {
	if err := a.Service.Revoke(ctx, in.Body.Names...); err != nil {
		return nil, err
	}
	return a.output(), nil
}

func (a *API) addKey(ctx context.Context, in *trustKeyInput) (*trustOutput, error) {
	if len(in.Body.Public) != ed25519.PublicKeySize {
		return nil, fault.Field("body.public", "an Ed25519 public key has %d bytes, not %d", ed25519.PublicKeySize, len(in.Body.Public))
	}
	err := a.Service.AddKey(ctx, trust.Key{ID: trust.KeyID(in.Body.Public), Public: in.Body.Public, Roles: in.Body.Roles})
	if err != nil {
		return nil, err
	}
	return a.output(), nil
}

func (a *API) output() *trustOutput {
	doc := a.Service.Current()
	out := trustBody{
		Version: doc.Version, IssuedAt: doc.IssuedAt, RootFingerprint: a.Service.RootFingerprint(),
		ServerCanSign: a.Service.CanSign(), Keys: []trustKey{}, Thresholds: map[trust.Role]int{},
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
	return &trustOutput{Body: out}
}
