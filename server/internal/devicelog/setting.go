package devicelog

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/hub"
)

// LogGroups in place of a level leaves it to the groups of a device: the most talkative of theirs holds, and
// without any none is forwarded. A level that is set on the device itself wins over them.
const LogGroups = "groups"

// Setting is what a device forwards, and what became of it.
type Setting struct {
	DeviceID        string     `json:"device_id"`
	Hostname        string     `json:"hostname"`
	Level           string     `json:"level" enum:"off,debug,info,warn,error" doc:"lines of this level and worse are forwarded now"`
	Until           *time.Time `json:"until,omitempty" doc:"when the level ends and after begins"`
	After           string     `json:"after,omitempty" enum:"off,debug,info,warn,error"`
	FromGroups      bool       `json:"from_groups" doc:"no level is set on the device itself: the level is the most talkative one of its groups, or off"`
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
		Allowed:    slices.Contains(d.Facts.TasksAllowed, protocol.TaskLog),
		FromGroups: d.LogOwn == "" && (d.Log == nil || d.Log.Until == nil),
		Lines:      source.KeptLines, DroppedByDevice: source.DroppedByDevice, DroppedByServer: source.DroppedByServer,
	}
	if l := d.Log; l != nil {
		out.Level, out.Until, out.After, out.FollowUntil = l.Level, l.Until, l.After, l.Follow
	}
	return out, nil
}

// SetFor sets a device's level, or LogGroups: for good when the time is zero, else for so long, and after that to
// another, which is what was set for good before unless it is named.
func (s *Service) SetFor(ctx context.Context, id, level string, period time.Duration, after, by string) (Setting, error) {
	d, err := s.reachable(ctx, id)
	if err != nil {
		return Setting{}, err
	}
	setting := protocol.LogSetting{Level: level}
	if period > 0 {
		if level == LogGroups {
			return Setting{}, fault.Field("body.for_seconds", "what groups say has no end: name a level for that time")
		}
		until := s.now().Add(period)
		if after == "" {
			after = cmp.Or(d.LogOwn, LogGroups)
		}
		setting.Until, setting.After = &until, after
	} else if after != "" {
		return Setting{}, fault.Field("body.after", "what follows needs a time after which: say for_seconds as well")
	}
	if err := valid(setting); err != nil {
		return Setting{}, err
	}
	if err := s.store.set(ctx, id, setting, by); err != nil {
		return Setting{}, err
	}
	s.tell(id)
	return s.Get(ctx, id)
}

// valid checks the levels, of which either may be LogGroups.
func valid(setting protocol.LogSetting) error {
	for _, level := range []*string{&setting.Level, &setting.After} {
		if *level == LogGroups {
			*level = protocol.LogOff
		}
	}
	return setting.Validate()
}

// reachable is a device that still comes.
func (s *Service) reachable(ctx context.Context, id string) (device.Device, error) {
	d, err := s.devices.Get(ctx, id)
	if err == nil && (d.State == protocol.DeviceRevoked || d.State == protocol.DeviceRemoved) {
		err = fault.New(fault.Conflict, "device %s is %s and forwards nothing any more", id, d.State)
	}
	return d, err
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
		s.tell(id)
	}
	return s.Get(ctx, id)
}

// tell has the device check in, if it is connected, and browsers look at it again.
func (s *Service) tell(id string) {
	s.live.WakeMany([]string{id})
	s.live.Notify(hub.Event{Type: "device", ID: id, DeviceID: id})
}
