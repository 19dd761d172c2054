package deploy

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// deployment reads one row.
func (s *deployStore) deployment(ctx context.Context, id string) (deploymentRow, error) {
	var row deploymentRow
	err := s.db.With(ctx).Where("id = ?", id).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return row, fault.New(fault.NotFound, "there is no deployment %q", id)
	}
	if err != nil {
		return row, fmt.Errorf("read deployment: %w", err)
	}
	return row, nil
}

// ending is how live deployments are ended by somebody.
type ending struct {
	action  action
	source  string
	state   protocol.State // cancelled or unassigned
	reason  protocol.Reason
	message string
}

// standing is how a deployment stands; its current attempt is loaded.
func (w *work) standing(d *deploymentRow) standing {
	try := w.tries[d.AttemptID]
	return standing{
		State: d.State, Reason: d.Reason, Live: d.Live,
		Begun: !d.State.Final() && try != nil && try.State == protocol.StateStarted,
	}
}

// withAttempts loads the current attempts of deployments.
func (w *work) withAttempts(found []*deploymentRow) error {
	ids := make([]string, len(found))
	for i, d := range found {
		ids[i] = d.AttemptID
	}
	return w.attempts(ids)
}

// finish ends one deployment if the action does. A command that has started is not stopped: its result still
// enters the timeline.
func (w *work) finish(d *deploymentRow, e ending) {
	s := w.standing(d)
	if decide(e.action, s) != moveEnd {
		return
	}
	message := e.message
	if s.Begun {
		message += "; its command has started and is not stopped"
	}
	d.setLive(false)
	d.NotBefore = nil
	w.show(d, e.source, e.state, e.reason, "", message)
	w.effects.wake[d.DeviceID] = true // so that the device drops what it holds
}

// cancel ends one deployment.
func (s *deployStore) cancel(ctx context.Context, id string, e ending) (effects, error) {
	row, err := s.deployment(ctx, id)
	if err != nil {
		return effects{}, err
	}
	return s.do(ctx, []string{row.DeviceID}, func(w *work) error {
		found, err := w.load("id = ?", id)
		if err != nil {
			return err
		}
		if err := w.withAttempts(found); err != nil {
			return err
		}
		d := found[0]
		if decide(e.action, w.standing(d)) == moveRefuse {
			return fault.New(fault.Conflict, "the deployment is over already: %s", summary(d.result()))
		}
		w.finish(d, e)
		return w.regate([]string{d.DeviceID})
	})
}

// endAll ends all live deployments that the condition names, some hundred in each transaction. Run
// again after a crash it goes on where it was.
func (s *deployStore) endAll(ctx context.Context, e ending, query string, args ...any) (effects, error) {
	return s.each(ctx, func(w *work, d *deploymentRow) error {
		w.finish(d, e)
		return nil
	}, query, args...)
}

// each changes all live deployments that the condition names. fn must make the condition false.
func (s *deployStore) each(ctx context.Context, fn func(w *work, d *deploymentRow) error, query string, args ...any) (effects, error) {
	all := effects{wake: map[string]bool{}}
	for {
		var ids, deviceIDs []string
		var found []deploymentRow
		err := s.db.With(ctx).Select("id", "device_id").Where("live = ?", true).Where(query, args...).
			Order("id").Limit(chunk).Find(&found).Error
		if err != nil {
			return all, fmt.Errorf("find deployments: %w", err)
		}
		if len(found) == 0 {
			return all, nil
		}
		for _, d := range found {
			ids, deviceIDs = append(ids, d.ID), append(deviceIDs, d.DeviceID)
		}
		e, err := s.do(ctx, deviceIDs, func(w *work) error {
			// The condition is asked again now that the devices are held.
			var still []string
			if err := w.tx.Model(&deploymentRow{}).Where("id IN ? AND live = ?", ids, true).Where(query, args...).Pluck("id", &still).Error; err != nil {
				return fmt.Errorf("find deployments: %w", err)
			}
			live, err := w.load("id IN ?", still)
			if err != nil {
				return err
			}
			if err := w.withAttempts(live); err != nil {
				return err
			}
			for _, d := range live {
				if err := fn(w, d); err != nil {
					return err
				}
			}
			return w.regate(deviceIDs)
		})
		if err != nil {
			return all, err
		}
		all.changed = append(all.changed, e.changed...)
		all.delayed = all.delayed || e.delayed
		for id := range e.wake {
			all.wake[id] = true
		}
	}
}

// retry starts another attempt of a deployment that is over or waits.
func (s *deployStore) retry(ctx context.Context, id, digest, who string) (effects, error) {
	row, err := s.deployment(ctx, id)
	if err != nil {
		return effects{}, err
	}
	e, err := s.do(ctx, []string{row.DeviceID}, func(w *work) error {
		found, err := w.load("id = ?", id)
		if err != nil {
			return err
		}
		d := found[0]
		if err := w.stillAssigned(d); err != nil {
			return err
		}
		if err := w.withAttempts(found); err != nil {
			return err
		}
		if s := w.standing(d); decide(actRetry, s) != moveRestart {
			return retryConflict(d, s)
		}
		return w.restart(d, digest, "started again by "+who, sourceAdmin)
	})
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return e, fault.New(fault.Conflict, "the device has a newer open deployment of this package")
	}
	return e, err
}

// retryConflict says why another attempt cannot begin.
func retryConflict(d *deploymentRow, s standing) error {
	switch {
	case s.State == protocol.StateUnassigned:
		return fault.New(fault.Conflict, "%s", takenBack)
	case s.Begun && s.State == protocol.StateWaiting:
		return fault.New(fault.Conflict, "the command of attempt %d has started and its end is not known yet", d.Attempt)
	default:
		return fault.New(fault.Conflict, "the deployment is under way (%s); cancel it first, or wait for its end", summary(d.result()))
	}
}

const takenBack = "the deployment's assignment was taken back; assign the package again"

// stillAssigned refuses to go on with a deployment whose assignment was taken back: taking back ends
// all that is live of it, also later.
func (w *work) stillAssigned(d *deploymentRow) error {
	var taken int64
	err := w.tx.Model(&assignmentRow{}).Where("id = ? AND unassigned_at IS NOT NULL", d.AssignmentID).Count(&taken).Error
	if err != nil {
		return fmt.Errorf("read assignment: %w", err)
	}
	if taken > 0 {
		return fault.New(fault.Conflict, "%s", takenBack)
	}
	return nil
}

// restart makes a new attempt that may run at once, as far as the gate lets it.
func (w *work) restart(d *deploymentRow, digest, message, source string) error {
	d.setLive(true)
	d.Failures, d.ExitCode, d.Signal, d.Instruction = 0, nil, "", digest
	if err := w.begin(d, nil); err != nil {
		return err
	}
	state := protocol.StateAssigned
	w.show(d, source, state, protocol.ReasonRetry, "", message)
	return w.regate([]string{d.DeviceID})
}

// resign hands the package's new envelope to its live deployments; those that wait for it, or were
// refused while they block others, start again.
func (s *deployStore) resign(ctx context.Context, p Package) (effects, error) {
	return s.each(ctx, func(w *work, d *deploymentRow) error {
		if decide(actSign, w.standing(d)) == moveRestart {
			return w.restart(d, p.InstructionDigest, "the package was signed again", sourceServer)
		}
		d.Instruction = p.InstructionDigest
		d.UpdatedAt = w.now
		w.dirty[d.ID] = true // no state changes, so no timeline row
		return nil
	}, "package_id = ? AND instruction <> ?", p.ID, p.InstructionDigest)
}
