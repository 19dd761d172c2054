package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/muster/muster/packages/protocol"
)

// ledger is what the server must hold.
type ledger struct {
	mu       sync.Mutex
	end      map[string]protocol.State  // of each deployment that was carried out
	reports  map[string]map[string]bool // acknowledged, by deployment and report id
	packages []string                   // that were assigned to the whole fleet
	acked    int
	refused  []protocol.RefusedItem
}

func newLedger() *ledger {
	return &ledger{end: map[string]protocol.State{}, reports: map[string]map[string]bool{}}
}

// expect says how a deployment will end.
func (l *ledger) expect(deploymentID string, end protocol.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end[deploymentID] = end
}

// assigned says that each device has a deployment of a package.
func (l *ledger) assigned(packageID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.packages = append(l.packages, packageID)
}

// acknowledge takes what the server says of a batch.
func (l *ledger) acknowledge(sent []protocol.Report, ack protocol.Ack) {
	l.mu.Lock()
	defer l.mu.Unlock()
	named := map[string]bool{}
	for _, id := range ack.IDs {
		named[id] = true
	}
	for _, r := range sent {
		if !named[r.ID] || r.Deployment == nil {
			continue
		}
		of := l.reports[r.Deployment.DeploymentID]
		if of == nil {
			of = map[string]bool{}
			l.reports[r.Deployment.DeploymentID] = of
		}
		if !of[r.ID] {
			l.acked++
		}
		of[r.ID] = true
	}
	l.refused = append(l.refused, ack.Refused...)
}

// counted is how many reports were acknowledged so far.
func (l *ledger) counted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

// compare looks whether the server holds what was acknowledged: each report once and no other, each
// deployment in the state in which it was left, and one deployment of each package for each device.
func compare(ctx context.Context, f *fleet) ([]result, error) {
	r := result{Scenario: "rows", Errors: f.again.failed()}
	l := f.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	begin, rows := time.Now(), 0
	var mu sync.Mutex
	ids := map[string]bool{}
	for id := range l.end {
		ids[id] = true
	}
	for id := range l.reports {
		ids[id] = true
	}
	for _, item := range l.refused {
		f.problem(fmt.Errorf("report %s was refused: %s: %s", item.ID, item.Code, item.Message))
	}
	for _, p := range l.packages {
		f.problemIf(l.onePerDevice(ctx, f, p))
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for id := range ids {
		g.Go(func() error {
			d, err := f.admin.deployment(gctx, id)
			if err != nil {
				return err
			}
			found, err := l.check(d)
			f.problemIf(err)
			mu.Lock()
			rows += found
			mu.Unlock()
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return []result{r}, err
	}
	r.add("deployments", float64(len(ids)), "")
	r.add("reports acknowledged", float64(l.acked), "")
	r.add("rows of reports", float64(rows), "")
	r.add("time", time.Since(begin).Seconds(), "s")
	return []result{r}, f.trouble()
}

func (f *fleet) problemIf(err error) {
	if err != nil {
		f.problem(err)
	}
}

// check compares one deployment and counts the rows of its reports.
func (l *ledger) check(d deployment) (rows int, err error) {
	want, found := l.reports[d.ID], map[string]bool{}
	for _, e := range d.Timeline {
		if e.Source != "device" {
			continue
		}
		rows++
		if !want[e.Message] {
			return rows, fmt.Errorf("deployment %s holds a report %q (%s) that was not acknowledged", d.ID, e.Message, e.State)
		}
		if found[e.Message] {
			return rows, fmt.Errorf("deployment %s holds the report %s twice", d.ID, e.Message)
		}
		found[e.Message] = true
	}
	if len(found) != len(want) {
		return rows, fmt.Errorf("deployment %s holds %d of %d acknowledged reports", d.ID, len(found), len(want))
	}
	if end, ended := l.end[d.ID]; ended && d.State != end {
		return rows, fmt.Errorf("deployment %s is %s, not %s", d.ID, d.State, end)
	}
	return rows, nil
}

// onePerDevice looks whether each device of the fleet has one deployment of a package, and no other device
// has any.
func (l *ledger) onePerDevice(ctx context.Context, f *fleet, packageID string) error {
	all, err := f.admin.deployments(ctx, packageID)
	if err != nil {
		return err
	}
	of := map[string]int{}
	for _, d := range all {
		of[d.DeviceID]++
	}
	for _, d := range f.devices {
		if of[d.id] != 1 {
			return fmt.Errorf("device %s has %d deployments of package %s", d.id, of[d.id], packageID)
		}
	}
	if len(all) != len(f.devices) {
		return fmt.Errorf("package %s has %d deployments for %d devices", packageID, len(all), len(f.devices))
	}
	return nil
}

// namedDevices is how many devices an assignment may name; larger fleets have the server to themselves.
const namedDevices = 10_000

// assignAll makes a package and gives it to the whole fleet. It returns when the assignment began.
func (f *fleet) assignAll(ctx context.Context, name string) (begin time.Time, err error) {
	id, err := f.admin.offer(ctx, "loadgen-"+name+"-"+f.name)
	if err != nil {
		return begin, err
	}
	begin = time.Now()
	if len(f.devices) > namedDevices {
		err = f.admin.call(ctx, http.MethodPost, "/assignments", map[string]any{"package_id": id, "all": true}, nil)
	} else {
		err = f.admin.assign(ctx, id, f.ids())
	}
	if err == nil {
		f.ledger.assigned(id)
	}
	return begin, err
}
