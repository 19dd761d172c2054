package release

import (
	"context"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/task"
)

// UpdateRequest asks to bring devices, or the members of a group, to a release.
type UpdateRequest struct {
	ReleaseID        string
	DeviceIDs        []string // or
	GroupID          string
	ProbationSeconds int // 0 is the standard
	By               string
}

// Update starts updates. Of named devices each must be able to have it, or nothing is begun; of a group those
// are left out, with the reason, that cannot have it or run the release already.
func (s *Service) Update(ctx context.Context, req UpdateRequest) (task.Updates, error) {
	if (req.GroupID == "") == (len(req.DeviceIDs) == 0) {
		return task.Updates{}, fault.Field("body.device_ids", "name devices or a group, one of both")
	}
	r, err := s.Release(ctx, req.ReleaseID)
	if fault.Is(err, fault.NotFound) {
		return task.Updates{}, fault.Field("body.release_id", "there is no release %.40q", req.ReleaseID)
	}
	if err != nil {
		return task.Updates{}, err
	}
	if err := r.usable(s.now()); err != nil {
		return task.Updates{}, err
	}
	devices := req.DeviceIDs
	if req.GroupID != "" {
		if devices, err = s.members(ctx, req.GroupID); err != nil {
			return task.Updates{}, err
		}
	}
	return s.tasks.Update(ctx, task.UpdateRequest{
		DeviceIDs: devices, Release: r.Document, Envelope: r.Envelope, ProbationSeconds: req.ProbationSeconds, By: req.By,
		Fitting: req.GroupID != "",
	})
}

func (s *Service) members(ctx context.Context, groupID string) ([]string, error) {
	s.mu.RLock()
	groups := s.groups
	s.mu.RUnlock()
	if groups == nil {
		return nil, fault.Field("body.group_id", "this server keeps no groups of devices")
	}
	return groups.Members(ctx, groupID)
}

// EnsureUpdate brings devices of which a release is expected, as of the members of a group, to it. Those are
// left out that cannot have it, whose agent is as high already, that have an open update, or that had one to
// this release before, however it ended: one that failed is not tried for ever. So it may be called any number
// of times. A release that is retired, expired or not trusted any more is a Conflict.
func (s *Service) EnsureUpdate(ctx context.Context, releaseID string, deviceIDs []string) error {
	if len(deviceIDs) == 0 {
		return nil
	}
	r, err := s.Release(ctx, releaseID)
	if err != nil {
		return err
	}
	if err := r.usable(s.now()); err != nil {
		return err
	}
	_, err = s.tasks.Update(ctx, task.UpdateRequest{
		DeviceIDs: deviceIDs, Release: r.Document, Envelope: r.Envelope, By: "a group's release", Fitting: true, Once: true,
	})
	return err
}
