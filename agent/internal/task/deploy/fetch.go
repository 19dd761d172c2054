package deploy

import (
	"context"
	"errors"

	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/agent/internal/task/fetch"
	"github.com/muster/muster/packages/protocol"
)

// fetching is how the package's archive comes to this device.
func (d *deployment) fetching() *fetch.Fetch {
	o := fetch.Options{
		DataDir: d.in.DataDir, Client: d.client, Archive: d.doc.Archive, Private: d.doc.Private, Stall: d.Stall, Again: d.Again,
		Progress: func(done, total int64) error { // not journalled
			return d.emit(task.Event{Progress: &protocol.Progress{
				DeploymentID: d.task.DeploymentID, AttemptID: d.task.AttemptID, Done: done, Total: total,
			}})
		},
	}
	if !d.doc.Private {
		o.List = d.doc.ID
	}
	return fetch.New(o)
}

// fetch brings all fragments into the fragment store.
func (d *deployment) fetch(ctx context.Context) error {
	if d.doc.Archive == nil {
		return nil
	}
	f := d.fetching()
	todo, err := f.Begin(d.doc.Archive.Size)
	if err != nil {
		return d.fetchEnding(err)
	}
	if err := d.reach(protocol.StateFetching, "instruction verified; %d of %d bytes to fetch", todo, d.doc.Archive.Size); err != nil {
		return err
	}
	return d.fetchEnding(f.Run(ctx))
}

// verifyArchive compares the fragments, and the archive that they make, with what is signed.
func (d *deployment) verifyArchive(ctx context.Context) error {
	if d.doc.Archive == nil {
		return nil
	}
	if err := d.fetching().Verify(ctx); err != nil {
		return d.fetchEnding(err)
	}
	return d.reach(protocol.StateFetched, "%d bytes fetched and verified", d.doc.Archive.Size)
}

// fetchEnding is what an error of fetching means for the attempt.
func (d *deployment) fetchEnding(err error) error {
	var e *fetch.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.Final:
		return end(protocol.StateRefused, e.Reason, "%v", e)
	default:
		return d.wait(e.Reason, "%v", e)
	}
}
