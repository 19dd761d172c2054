package deploy

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/text"
)

// mostDevices bounds the devices that one assignment names one by one.
const mostDevices = 10_000

// Assignment is a package given to devices.
type Assignment struct {
	ID             string
	PackageID      string
	PackageName    string
	PackageVersion string
	AllDevices     bool
	DeviceCount    int // deployments that it made
	NotBefore      *time.Time
	CreatedBy      string
	CreatedAt      time.Time
	UnassignedAt   *time.Time
}

func (r assignmentRow) assignment() Assignment { return Assignment(r) }

// AssignRequest asks to give an active package to devices: those named, or all.
type AssignRequest struct {
	PackageID string
	DeviceIDs []string
	All       bool
	NotBefore *time.Time
	By        string // name of who asks
}

// Assign makes deployments. A device that has an open deployment of the package gets no second one. A
// package that is not active is a Conflict, an unknown device NotFound, a revoked one a Conflict.
func (s *Service) Assign(ctx context.Context, req AssignRequest) (Assignment, error) {
	if req.All == (len(req.DeviceIDs) > 0) {
		return Assignment{}, fault.Field("body.device_ids", "name devices, or all; not both")
	}
	if len(req.DeviceIDs) > mostDevices {
		return Assignment{}, fault.Field("body.device_ids", "%d devices named; at most %d are taken", len(req.DeviceIDs), mostDevices)
	}
	pkg, err := s.pkg(ctx, req.PackageID)
	if err != nil {
		return Assignment{}, err
	}
	if err := mustBeActive(pkg); err != nil {
		return Assignment{}, err
	}
	targets, err := s.devices.Targets(ctx, req.DeviceIDs, req.All)
	if err != nil {
		return Assignment{}, err
	}
	if err := mayWork(targets); err != nil {
		return Assignment{}, err
	}
	row := assignmentRow{
		PackageID: pkg.ID, PackageName: pkg.Name, PackageVersion: pkg.Version, AllDevices: req.All,
		NotBefore: future(req.NotBefore), CreatedBy: text.Cut(req.By, 120), CreatedAt: store.Now(),
	}
	ids, err := newIDs(1)
	if err != nil {
		return Assignment{}, err
	}
	row.ID = ids[0]
	row, e, err := s.store.assign(ctx, row, pkg, targets, newIDs)
	if err != nil {
		return Assignment{}, err
	}
	s.log.Info("package assigned", "assignment", row.ID, "package", pkg.Name, "version", pkg.Version, "devices", row.DeviceCount)
	s.tell(e)
	s.live.Notify(hub.Event{Type: "package", ID: pkg.ID, PackageID: pkg.ID})
	s.PackageChanged(ctx, pkg.ID) // retired or signed meanwhile? Then the event came before these deployments
	return row.assignment(), nil
}

func mustBeActive(p Package) error {
	switch p.State {
	case PackageActive:
		return nil
	case PackageRetired:
		return fault.New(fault.Conflict, "package %s %s is retired; make a new version", p.Name, p.Version)
	default:
		return fault.New(fault.Conflict, "package %s %s is not active; sign and activate it first", p.Name, p.Version)
	}
}

func mayWork(targets []device.Target) error {
	for _, t := range targets {
		if gone(t.State) {
			return fault.New(fault.Conflict, "device %s (%s) is %s", t.Hostname, t.ID, t.State)
		}
	}
	return nil
}

// gone reports whether a device in this state will never do anything again.
func gone(deviceState string) bool {
	return deviceState == protocol.DeviceRevoked || deviceState == protocol.DeviceRemoved
}

// future is t in UTC, or nil when it has passed already.
func future(t *time.Time) *time.Time {
	if t == nil || !t.After(store.Now()) {
		return nil
	}
	u := t.UTC().Truncate(time.Millisecond)
	return &u
}

func newIDs(n int) ([]string, error) {
	ids := make([]string, n)
	for i := range ids {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("make id: %w", err)
		}
		ids[i] = id.String()
	}
	return ids, nil
}

// Unassign takes an assignment back: all its open deployments end as unassigned.
func (s *Service) Unassign(ctx context.Context, id, who string) error {
	if err := s.store.takeBack(ctx, id); err != nil {
		return err
	}
	// It is taken back now: a request that ends early must not leave the rest for the next start.
	e, err := s.store.endAll(context.WithoutCancel(ctx), unassigning(who), "assignment_id = ?", id)
	s.tell(e)
	return err
}

// Cancel ends a deployment that is open or blocks others. A command that has started is not stopped;
// its result still enters the timeline. One that is over is a Conflict.
func (s *Service) Cancel(ctx context.Context, id, who string) error {
	e, err := s.store.cancel(ctx, id, ending{actCancel, sourceAdmin, protocol.StateCancelled, protocol.ReasonByAdmin, "cancelled by " + who})
	if err != nil {
		return err
	}
	s.tell(e)
	return nil
}

// Retry starts a new attempt of a deployment that is over or waits. One that is under way is a
// Conflict, and so is one of a package that is not active.
func (s *Service) Retry(ctx context.Context, id, who string) error {
	row, err := s.store.deployment(ctx, id)
	if err != nil {
		return err
	}
	pkg, err := s.pkg(ctx, row.PackageID)
	if err != nil {
		return err
	}
	if err := mustBeActive(pkg); err != nil {
		return err
	}
	targets, err := s.devices.Targets(ctx, []string{row.DeviceID}, false)
	if err != nil {
		return err
	}
	if err := mayWork(targets); err != nil {
		return err
	}
	e, err := s.store.retry(ctx, id, pkg.InstructionDigest, who)
	if err != nil {
		return err
	}
	s.tell(e)
	s.PackageChanged(ctx, pkg.ID) // as in Assign
	return nil
}

// PackageChanged brings a package's open deployments in line with it: retired ends them, a new
// signature reaches them. It may be called any number of times.
func (s *Service) PackageChanged(ctx context.Context, packageID string) {
	// What it follows from is committed: a request that ends early does not stop it.
	if err := s.syncPackage(context.WithoutCancel(ctx), packageID); err != nil {
		s.log.Error("bring deployments in line with their package", "package", packageID, "err", err)
	}
}

// syncPackage repeats itself until the package stands still: two events may be handled at once, and the
// older one must not have the last word.
func (s *Service) syncPackage(ctx context.Context, id string) error {
	pkg, err := s.pkg(ctx, id)
	for err == nil {
		if err = s.applyPackage(ctx, pkg); err != nil {
			return err
		}
		before := pkg
		if pkg, err = s.pkg(ctx, id); err == nil && pkg == before {
			return nil
		}
	}
	return err
}

func (s *Service) applyPackage(ctx context.Context, pkg Package) (err error) {
	var e effects
	switch pkg.State {
	case PackageRetired:
		e, err = s.store.endAll(ctx, ending{
			actRetire, sourceServer, protocol.StateCancelled, protocol.ReasonRetired,
			fmt.Sprintf("package %s %s was retired", pkg.Name, pkg.Version),
		}, "package_id = ?", pkg.ID)
	case PackageActive:
		e, err = s.store.resign(ctx, pkg)
	}
	s.tell(e) // what was committed before an error has happened
	return err
}

// DeviceChanged brings a device's open deployments in line with its state: those that waited for its
// approval go on, those of a quarantined device wait, those of a revoked or removed one end.
func (s *Service) DeviceChanged(ctx context.Context, c device.Change) {
	ctx = context.WithoutCancel(ctx) // the device's change is committed
	var e effects
	var err error
	switch c.State {
	case protocol.DeviceActive, protocol.DeviceQuarantined:
		e, err = s.store.regate(ctx, []string{c.DeviceID})
	case protocol.DeviceRevoked:
		e, err = s.store.endAll(ctx, ending{
			actRevoke, sourceServer, protocol.StateCancelled, protocol.ReasonByAdmin, "the device was revoked",
		}, "device_id = ?", c.DeviceID)
	case protocol.DeviceRemoved:
		e, err = s.store.endAll(ctx, ending{
			actRevoke, sourceServer, protocol.StateCancelled, protocol.ReasonDeviceRemoved, "the device was removed",
		}, "device_id = ?", c.DeviceID)
	}
	s.tell(e)
	if err != nil {
		s.log.Error("bring deployments in line with their device", "device", c.DeviceID, "err", err)
	}
}

// Assignment returns one assignment.
func (s *Service) Assignment(ctx context.Context, id string) (Assignment, error) {
	row, err := s.store.assignment(ctx, id)
	return row.assignment(), err
}

// Assignments lists the newest first, of one package unless packageID is empty; before is the id of
// the last one seen.
func (s *Service) Assignments(ctx context.Context, packageID, before string, limit int) ([]Assignment, error) {
	rows, err := s.store.assignments(ctx, packageID, before, limit)
	if err != nil {
		return nil, err
	}
	found := make([]Assignment, len(rows))
	for i, r := range rows {
		found[i] = r.assignment()
	}
	return found, nil
}
