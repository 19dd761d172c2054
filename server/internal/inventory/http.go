package inventory

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
)

// API is the feature's part of the admin API.
type API struct{ Service *Service }

// SectionView is a section as the admin API shows it.
type SectionView struct {
	Name        string     `json:"name"`
	Rows        int        `json:"rows"`
	CollectedAt *time.Time `json:"collected_at,omitempty" doc:"the newest inventory with these rows, by the device's clock; absent as long as no rows have come"`
	ReceivedAt  *time.Time `json:"received_at,omitempty" doc:"when these rows came"`
	NamedAt     time.Time  `json:"named_at" doc:"when an inventory last had the section"`
	Problem     string     `json:"problem,omitempty" doc:"why the newest inventory has it not, or in part"`
	// Columns stay absent for sections of the agent's own, whose fields this document describes.
	Columns []protocol.Column `json:"columns,omitempty" doc:"the fields that rows of a module's section have beside key and name, in the order in which to show them"`
}

// InventoryView is a device's inventory without the rows.
type InventoryView struct {
	DeviceID    string           `json:"device_id"`
	CollectedAt *time.Time       `json:"collected_at,omitempty" doc:"the newest of the sections; absent when there is no inventory yet"`
	Sections    []SectionView    `json:"sections" doc:"by name"`
	System      *protocol.System `json:"system,omitempty"`
	BIOS        *protocol.BIOS   `json:"bios,omitempty"`
}

// SectionRows is a page of a section's rows.
type SectionRows struct {
	SectionView
	api.Page[Row]
}

func view(s Section) SectionView {
	return SectionView{
		Name: s.Name, Rows: s.Rows, CollectedAt: s.CollectedAt, ReceivedAt: s.ReceivedAt, NamedAt: s.NamedAt, Problem: s.Problem,
		Columns: s.Columns,
	}
}

type (
	getInput struct {
		ID string `path:"id" maxLength:"64"`
	}
	getOutput struct{ Body InventoryView }
	rowsInput struct {
		ID      string `path:"id" maxLength:"64"`
		Section string `path:"section" maxLength:"64"`
		api.PageParams
		Query string `query:"q" maxLength:"200" doc:"part of any text of the row"`
	}
	rowsOutput struct{ Body SectionRows }
)

// Register adds the operations.
func (a *API) Register(h huma.API) {
	api.Register(h, huma.Operation{
		OperationID: "get-inventory", Method: http.MethodGet, Path: "/devices/{id}/inventory", Tags: []string{"inventory"},
		Summary: "Show which sections the inventory of a device has",
	}, a.get)
	api.Register(h, huma.Operation{
		OperationID: "get-inventory-section", Method: http.MethodGet, Path: "/devices/{id}/inventory/{section}", Tags: []string{"inventory"},
		Summary: "List the rows of a section, by key",
	}, a.rows)
}

func (a *API) get(ctx context.Context, in *getInput) (*getOutput, error) {
	s, err := a.Service.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := InventoryView{DeviceID: in.ID, Sections: make([]SectionView, len(s.Sections)), System: s.System, BIOS: s.BIOS}
	for i, section := range s.Sections {
		out.Sections[i] = view(section)
		if at := section.CollectedAt; at != nil && (out.CollectedAt == nil || at.After(*out.CollectedAt)) {
			out.CollectedAt = at
		}
	}
	return &getOutput{out}, nil
}

func (a *API) rows(ctx context.Context, in *rowsInput) (*rowsOutput, error) {
	after, err := api.DecodeCursor(in.Cursor, 1)
	if err != nil {
		return nil, err
	}
	last := ""
	if after != nil {
		last = after[0]
	}
	section, rows, err := a.Service.Rows(ctx, in.ID, in.Section, in.Query, last, in.Fetch())
	if err != nil {
		return nil, err
	}
	page := api.NewPage(rows, in.PageParams, func(r Row) []string { return []string{r.Key()} })
	return &rowsOutput{SectionRows{view(section), page}}, nil
}
