// Package group keeps groups of devices: lists that admins make, and saved searches, which hold whatever a
// search of devices finds.
//
// The members of both stand in one table. Those of a search are found anew, a moment later, when something of a
// device changes, when the search changes, and all of them once in a while, for time passes and a crash may
// forget what had changed. A member's row also says what has still to be brought in line with its joining or
// leaving: it is written together with that, and the mark goes when it is done, so a crash in between only has
// it done again, which changes nothing. The admin API calls the Service for people, device tells about devices
// and lets them join by their enrollment token, release asks for Members.
package group

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/text"
)

// Most is how many groups there may be: every change of a device is looked at by every saved search.
const Most = 500

// mostNamed bounds the devices that one request names.
const mostNamed = 10_000

// Kinds of group.
const (
	Static = "static"
	Saved  = "search"
)

// Group is a set of devices.
type Group struct {
	ID          string
	Name        string
	Description string
	Kind        string
	Search      *device.Search // of a saved search
	Members     int            // as they are kept
	LogLevel    string         // of protocol.LogLevels, which members forward from; empty for none
	ReleaseID   string         // which members become; empty for none
	CreatedBy   string
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Change says what to change of a group; nil leaves it. The kind of a group never changes.
type Change struct {
	Name        *string
	Description *string
	Search      *device.Search
	LogLevel    *string
	ReleaseID   *string
}

// Live is what the package needs of the live connections.
type Live interface {
	Connected(deviceID string) bool
	Notify(hub.Event)
}

// Options configure a Service.
type Options struct {
	DB    *store.DB    // required
	Live  Live         // required
	Log   *slog.Logger // required
	Apply Apply        // what members are brought in line with

	FindEvery time.Duration // all searches anew; 10 minutes when zero
	Gather    time.Duration // changes before they are looked at, and brought in line with; 1 s when zero
}

// Service is the feature. Make it with New and keep Run running.
type Service struct {
	store  *groupStore
	live   Live
	log    *slog.Logger
	apply  Apply
	every  time.Duration
	gather time.Duration

	finding  sync.Mutex // one writes what a search found at a time
	applying sync.Mutex
	touched  touched
	due      chan struct{} // something has to be brought in line
}

// New makes the service.
func New(opt Options) *Service {
	if opt.FindEvery <= 0 {
		opt.FindEvery = 10 * time.Minute
	}
	if opt.Gather <= 0 {
		opt.Gather = time.Second
	}
	return &Service{
		store: &groupStore{opt.DB}, live: opt.Live, log: opt.Log, apply: opt.Apply, every: opt.FindEvery, gather: opt.Gather,
		touched: touched{more: make(chan struct{}, 1)}, due: make(chan struct{}, 1),
	}
}

// Create makes a group of the devices, or of what the search finds. A name that is taken is a Conflict, as is
// one group too many.
func (s *Service) Create(ctx context.Context, g Group, deviceIDs []string, by string) (Group, error) {
	now := store.Now()
	row := groupRow{Kind: Static, CreatedBy: text.Cut(by, 120), CreatedAt: now, UpdatedAt: now}
	change := Change{Name: &g.Name, Description: &g.Description, LogLevel: &g.LogLevel, ReleaseID: &g.ReleaseID}
	if g.Search != nil {
		if len(deviceIDs) > 0 {
			return Group{}, fault.Field("body.device_ids", "a saved search finds its devices by itself; name devices, or a search, not both")
		}
		row.Kind, change.Search = Saved, g.Search
	}
	if err := s.alter(ctx, &row, change); err != nil {
		return Group{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Group{}, fmt.Errorf("make group id: %w", err)
	}
	row.ID = id.String()
	ids, err := named(deviceIDs)
	if err != nil {
		return Group{}, err
	}
	if err := s.store.create(ctx, row, ids, by); err != nil {
		return Group{}, err
	}
	s.log.Info("group made", "group", row.Name, "kind", row.Kind)
	return s.changed(ctx, row)
}

// Alter changes a group.
func (s *Service) Alter(ctx context.Context, id string, change Change) (Group, error) {
	row, err := s.store.alter(ctx, id, func(row *groupRow) error { return s.alter(ctx, row, change) })
	if err != nil {
		return Group{}, err
	}
	return s.changed(ctx, row)
}

// changed lets follow what a new or changed group means. It is committed.
func (s *Service) changed(ctx context.Context, row groupRow) (Group, error) {
	if row.Kind == Saved {
		if err := s.find(context.WithoutCancel(ctx), row, nil); err != nil {
			s.touched.all()
			return Group{}, err
		}
	}
	s.tell(row.ID)
	return s.Get(ctx, row.ID)
}

// alter checks and applies a change to a row, and says in it what members have to be brought in line with.
func (s *Service) alter(ctx context.Context, row *groupRow, c Change) error {
	if c.Name != nil {
		if row.Name = text.Clean(strings.TrimSpace(*c.Name), 120); row.Name == "" {
			return fault.Field("body.name", "a group needs a name")
		}
		row.NameKey = text.Cut(strings.ToLower(row.Name), 255)
	}
	if c.Description != nil {
		row.Description = text.Clean(*c.Description, 500)
	}
	if c.Search != nil {
		if err := row.search(*c.Search); err != nil {
			return err
		}
	}
	if c.LogLevel != nil && *c.LogLevel != row.LogLevel {
		if *c.LogLevel != "" && !slices.Contains(protocol.LogLevels, *c.LogLevel) {
			return fault.Field("body.log_level", "%.40q is none of %s", *c.LogLevel, strings.Join(protocol.LogLevels, ", "))
		}
		row.LogLevel, row.due = *c.LogLevel, row.due|dueLog
	}
	if c.ReleaseID != nil && *c.ReleaseID != row.ReleaseID {
		if *c.ReleaseID != "" {
			if err := s.apply.checkRelease(ctx, *c.ReleaseID); err != nil {
				return err
			}
		}
		row.ReleaseID, row.due = *c.ReleaseID, row.due|dueRelease
	}
	return nil
}

// search makes another search that of the row.
func (r *groupRow) search(search device.Search) error {
	if r.Kind != Saved {
		return fault.New(fault.Conflict, "group %s is a list of devices and takes no search; make another group", r.Name)
	}
	if err := search.ValidateSaved("body.search."); err != nil {
		return err
	}
	data, err := json.Marshal(search)
	if err != nil {
		return fmt.Errorf("encode search: %w", err)
	}
	r.Search = string(data)
	r.Generation++
	return nil
}

// tell spreads that groups changed; it is committed.
func (s *Service) tell(groupIDs ...string) {
	for _, id := range groupIDs {
		s.live.Notify(hub.Event{Type: "group", ID: id})
	}
	s.dueNow()
}

// Get reads a group.
func (s *Service) Get(ctx context.Context, id string) (Group, error) {
	row, err := s.store.get(ctx, id)
	if err != nil {
		return Group{}, err
	}
	groups, err := s.groups(ctx, []groupRow{row})
	if err != nil {
		return Group{}, err
	}
	return groups[0], nil
}

// Filter narrows List; empty fields do not. After holds the name and id of the last group seen.
type Filter struct {
	Query string // part of name or description
	Kind  string
	After []string
	Limit int
}

// List returns groups by name.
func (s *Service) List(ctx context.Context, f Filter) ([]Group, error) {
	rows, err := s.store.list(ctx, f)
	if err != nil {
		return nil, err
	}
	return s.groups(ctx, rows)
}

// groups reads what the rows say.
func (s *Service) groups(ctx context.Context, rows []groupRow) ([]Group, error) {
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	counts, err := s.store.counts(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]Group, len(rows))
	for i, r := range rows {
		out[i] = Group{
			ID: r.ID, Name: r.Name, Description: r.Description, Kind: r.Kind, Members: counts[r.ID], LogLevel: r.LogLevel,
			ReleaseID: r.ReleaseID, CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
		}
		if r.Kind == Saved {
			search, err := r.saved()
			if err != nil {
				return nil, err
			}
			out[i].Search = &search
		}
	}
	return out, nil
}

// saved is the row's search.
//
//fuzz:none the server wrote the row itself
func (r groupRow) saved() (device.Search, error) {
	var search device.Search
	if err := json.Unmarshal([]byte(r.Search), &search); err != nil {
		return search, fmt.Errorf("read search of group %s: %w", r.ID, err)
	}
	return search, nil
}

// Delete removes a group and returns what it was called. Its devices stay, and what it had set for them ends. A
// group that a valid enrollment token names is a Conflict.
func (s *Service) Delete(ctx context.Context, id string) (name string, err error) {
	if name, err = s.store.remove(ctx, id, store.Now()); err != nil {
		return "", err
	}
	s.log.Info("group deleted", "group", name)
	s.tell(id)
	return name, nil
}

// Of returns the groups of which a device is a member, by name.
func (s *Service) Of(ctx context.Context, deviceID string) ([]device.GroupRef, error) {
	return s.store.of(ctx, deviceID)
}

// TokenGroups returns the groups that enrollment tokens name, by token.
func (s *Service) TokenGroups(ctx context.Context, tokenIDs []string) (map[string][]device.GroupRef, error) {
	return s.store.ofTokens(ctx, tokenIDs)
}

// named checks and sorts the ids of a request.
func named(ids []string) ([]string, error) {
	if len(ids) > mostNamed {
		return nil, fault.Field("body.device_ids", "%d devices are named; at most %d are taken", len(ids), mostNamed)
	}
	return slices.Compact(slices.Sorted(slices.Values(ids))), nil
}
