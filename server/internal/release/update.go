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
	return s.start(ctx, r, task.UpdateRequest{
		DeviceIDs: devices, ProbationSeconds: req.ProbationSeconds, By: req.By, Fitting: req.GroupID != "",
	})
}

// start makes the tasks. Should the release be retired at the same moment, either Retire sees the tasks, or it is
// seen here that it was.
func (s *Service) start(ctx context.Context, r Release, req task.UpdateRequest) (task.Updates, error) {
	req.Release, req.Envelope = r.Document, r.Envelope
	done, err := s.tasks.Update(ctx, req)
	if err != nil || done.Made == 0 {
		return done, err
	}
	row, err := s.rows.find(ctx, r.Document.ID)
	if err == nil && row.State != string(Active) {
		if err := s.tasks.EndUpdates(context.WithoutCancel(ctx), row.ID, req.By); err != nil {
			return done, err
		}
		return done, fault.New(fault.Conflict, "release %s was retired meanwhile", row.Version)
	}
	return done, err
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
	_, err = s.start(ctx, r, task.UpdateRequest{DeviceIDs: deviceIDs, By: "a group's release", Fitting: true, Once: true})
	return err
}
