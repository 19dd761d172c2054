package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/server/internal/api"
)

// API is the operations of the audit trail.
type API struct{ Service *Service }

// Row is an entry on the wire.
type Row struct {
	ID        string            `json:"id"`
	Time      time.Time         `json:"time"`
	Actor     string            `json:"actor"`
	ActorKind string            `json:"actor_kind" enum:"session,token,system"`
	Operation string            `json:"operation"`
	Target    string            `json:"target"`
	Status    int               `json:"status" doc:"HTTP status of the answer"`
	RemoteIP  string            `json:"remote_ip"`
	Details   map[string]string `json:"details"`
}

type filter struct{ Text string }

type listInput struct {
	api.PageParams
	Text string `query:"q" maxLength:"120" doc:"part of actor, operation or target"`
}

type listOutput struct{ Body api.Page[Row] }

// Register adds the operations.
func (a *API) Register(h huma.API) {
	api.Register(h, huma.Operation{
		OperationID: "list-audit", Method: http.MethodGet, Path: "/audit", Tags: []string{"Audit"},
		Summary: "List what was changed by whom, newest first",
	}, a.list)
}

//fuzz:none the server wrote the row itself
func (a *API) list(ctx context.Context, in *listInput) (*listOutput, error) {
	entries, err := a.Service.store.list(ctx, filter{Text: in.Text}, in.PageParams)
	if err != nil {
		return nil, err
	}
	rows := make([]Row, len(entries))
	for i, e := range entries {
		details := map[string]string{}
		if err := json.Unmarshal([]byte(e.Details), &details); err != nil {
			return nil, fmt.Errorf("read details of audit row %s: %w", e.ID, err)
		}
		rows[i] = Row{
			ID: e.ID, Time: e.Time, Actor: e.Actor, ActorKind: e.ActorKind, Operation: e.Operation,
			Target: e.Target, Status: e.Status, RemoteIP: e.RemoteIP, Details: details,
		}
	}
	page := api.NewPage(rows, in.PageParams, func(r Row) []string { return []string{r.ID} })
	return &listOutput{Body: page}, nil
}
