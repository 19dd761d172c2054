package group

import (
	"context"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/text"
)

// Member is a device of a group.
type Member struct {
	DeviceID     string
	Hostname     string
	State        string // of the device
	OSName       string
	OSVersion    string
	AgentVersion string
	LastSeenAt   *time.Time
	AddedAt      *time.Time // nil: a search finds it now, and it is not kept as a member yet
	AddedBy      string
}

// MemberFilter narrows List of members. After holds the host name and id of the last device seen.
type MemberFilter struct {
	Query string // part of the host name
	After []string
	Limit int
}

// MemberList lists the devices of a group by host name. Those of a saved search are looked for now.
func (s *Service) MemberList(ctx context.Context, id string, f MemberFilter) ([]Member, error) {
	row, err := s.store.get(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.store.members(ctx, row, f, store.Now())
}

// Members returns the ids of a group's devices, sorted. Those of a saved search are looked for now.
func (s *Service) Members(ctx context.Context, id string) ([]string, error) {
	row, err := s.store.get(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.store.memberIDs(ctx, row, store.Now())
}

// Preview counts what a search would find, and returns the first of it by host name.
func (s *Service) Preview(ctx context.Context, search device.Search, limit int) (int, []Member, error) {
	if err := search.ValidateSaved("body.search."); err != nil {
		return 0, nil, err
	}
	return s.store.preview(ctx, search, limit, store.Now())
}

// Add makes devices members of a list. One that is a member already stays as it is; one that there is not is
// NotFound, one that is revoked or removed a Conflict, and then none is added.
func (s *Service) Add(ctx context.Context, id string, deviceIDs []string, by string) (Group, error) {
	ids, err := named(deviceIDs)
	if err != nil {
		return Group{}, err
	}
	row, err := s.static(ctx, id)
	if err != nil {
		return Group{}, err
	}
	if err := s.store.add(ctx, row.ID, ids, text.Cut(by, 120)); err != nil {
		return Group{}, err
	}
	s.tell(id)
	return s.Get(ctx, id)
}

// Remove takes devices off a list. One that is no member is left alone.
func (s *Service) Remove(ctx context.Context, id string, deviceIDs []string) (Group, error) {
	ids, err := named(deviceIDs)
	if err != nil {
		return Group{}, err
	}
	row, err := s.static(ctx, id)
	if err != nil {
		return Group{}, err
	}
	if err := s.store.leave(ctx, row.ID, ids); err != nil {
		return Group{}, err
	}
	s.tell(id)
	return s.Get(ctx, id)
}

func (s *Service) static(ctx context.Context, id string) (groupRow, error) {
	row, err := s.store.get(ctx, id)
	if err == nil && row.Kind != Static {
		err = fault.New(fault.Conflict, "group %s is a saved search, which finds its devices by itself; change the search", row.Name)
	}
	return row, err
}

// DeviceChanged takes a device that is revoked or removed out of all groups. Nothing has to be brought in line
// with that: whatever such a device was to do has ended.
func (s *Service) DeviceChanged(ctx context.Context, c device.Change) {
	if c.State != protocol.DeviceRevoked && c.State != protocol.DeviceRemoved {
		s.dueNow() // what waited for its approval
		return
	}
	groups, err := s.store.forget(context.WithoutCancel(ctx), c.DeviceID)
	if err != nil { // tidy makes it good
		s.log.Error("take a device out of its groups", "device", c.DeviceID, "err", err)
		return
	}
	s.tell(groups...)
}
