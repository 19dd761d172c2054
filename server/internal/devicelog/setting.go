package devicelog

import (
	"context"
	"slices"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/hub"
)

// Setting is what a device forwards, and what became of it.
type Setting struct {
	DeviceID        string     `json:"device_id"`
	Hostname        string     `json:"hostname"`
	Level           string     `json:"level" enum:"off,debug,info,warn,error" doc:"lines of this level and worse are forwarded now"`
	Until           *time.Time `json:"until,omitempty" doc:"when the level ends and after begins"`
	After           string     `json:"after,omitempty" enum:"off,debug,info,warn,error"`
	FollowUntil     *time.Time `json:"follow_until,omitempty" doc:"until then lines come within a second"`
	SetBy           string     `json:"set_by,omitempty" doc:"who set the level last"`
	Allowed         bool       `json:"allowed" doc:"the device's own configuration lets this server have log lines; else none come, whatever the level"`
	Lines           int64      `json:"lines" doc:"kept here"`
	DroppedByDevice int64      `json:"dropped_by_device" doc:"lines that the device did not forward because there were too many"`
	DroppedByServer int64      `json:"dropped_by_server" doc:"lines that were not kept here because there were too many in an hour"`
}

// Get returns how a device's log stands, whatever the device's state.
func (s *Service) Get(ctx context.Context, id string) (Setting, error) {
	d, err := s.devices.Get(ctx, id)
	if err != nil {
		return Setting{}, err
	}
	source, err := s.store.source(ctx, id)
	if err != nil {
		return Setting{}, err
	}
	out := Setting{
		DeviceID: d.ID, Hostname: d.Hostname, Level: protocol.LogOff, SetBy: d.LogSetBy,
		Allowed: slices.Contains(d.Facts.TasksAllowed, protocol.TaskLog),
		Lines:   source.KeptLines, DroppedByDevice: source.DroppedByDevice, DroppedByServer: source.DroppedByServer,
	}
	if l := d.Log; l != nil {
		out.Level, out.Until, out.After, out.FollowUntil = l.Level, l.Until, l.After, l.Follow
	}
	return out, nil
}

// SetFor sets a device's level: for good when the time is zero, else for so long, and after that to another,
// which is the one that held before unless it is named.
func (s *Service) SetFor(ctx context.Context, id, level string, d time.Duration, after, by string) (Setting, error) {
	present, err := s.reachable(ctx, id)
	if err != nil {
		return Setting{}, err
	}
	setting := protocol.LogSetting{Level: level}
	if d > 0 {
		until := s.now().Add(d)
		if after == "" {
			after = standing(present)
		}
		setting.Until, setting.After = &until, after
	} else if after != "" {
		return Setting{}, fault.Field("after", "what follows needs a time after which: say for_seconds as well")
	}
	if err := s.SetLog(ctx, []string{id}, setting, by); err != nil {
		return Setting{}, err
	}
	return s.Get(ctx, id)
}

// standing is the level that holds when no time runs.
func standing(d device.Device) string {
	switch {
	case d.Log == nil:
		return protocol.LogOff
	case d.Log.Until != nil:
		return d.Log.After
	default:
		return d.Log.Level
	}
}

// reachable is a device that still comes.
func (s *Service) reachable(ctx context.Context, id string) (device.Device, error) {
	d, err := s.devices.Get(ctx, id)
	if err == nil && (d.State == protocol.DeviceRevoked || d.State == protocol.DeviceRemoved) {
		err = fault.New(fault.Conflict, "device %s is %s and forwards nothing any more", id, d.State)
	}
	return d, err
}

// SetLog gives devices a setting, in place of the one that they have; Follow is left as it is. Those that are
// revoked or removed, or that there are none of, keep theirs. The devices that are connected check in, paced.
func (s *Service) SetLog(ctx context.Context, deviceIDs []string, setting protocol.LogSetting, by string) error {
	if err := setting.Validate(); err != nil {
		return err
	}
	if setting.Until != nil {
		until := setting.Until.UTC().Truncate(time.Millisecond)
		setting.Until = &until
	}
	changed, err := s.store.set(ctx, deviceIDs, setting, by)
	s.tell(changed)
	return err
}

// Follow asks a device for its lines as they come, for some time from now; a longer time that was asked for
// before stays.
func (s *Service) Follow(ctx context.Context, id string, d time.Duration) (Setting, error) {
	if _, err := s.reachable(ctx, id); err != nil {
		return Setting{}, err
	}
	changed, err := s.store.follow(ctx, id, s.now().Add(d))
	if err != nil {
		return Setting{}, err
	}
	if changed {
		s.tell([]string{id})
	}
	return s.Get(ctx, id)
}

func (s *Service) tell(deviceIDs []string) {
	if len(deviceIDs) == 0 {
		return
	}
	s.live.WakeMany(deviceIDs)
	for _, id := range deviceIDs {
		s.live.Notify(hub.Event{Type: "device", ID: id, DeviceID: id})
	}
}
