package deploy

import (
	"context"
	"fmt"
	"os"

	"github.com/muster/muster/agent/internal/task/fetch"
	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/protocol"
)

// unpack makes a fresh private directory and, if there is an archive, unpacks it there. It may be
// repeated: whatever an earlier process left is removed first.
func (d *deployment) unpack(ctx context.Context) error {
	if err := d.freshTree(); err != nil {
		return err
	}
	if d.doc.Archive == nil {
		return nil
	}
	files, bytes, err := d.unpackTree(ctx)
	if err == nil {
		return d.reach(protocol.StateUnpacked, "%s, %d bytes", countFiles(files), bytes)
	}
	if rerr := removeTree(d.path(treeDir)); rerr != nil {
		d.log.Warn("remove a half unpacked archive", "err", rerr)
	}
	if archive.Refused(err) {
		return end(protocol.StateRefused, protocol.ReasonArchive, "%v", err)
	}
	return fmt.Errorf("unpack: %w", err)
}

func (d *deployment) freshTree() error {
	tree := d.path(treeDir)
	if err := removeTree(tree); err != nil {
		return fmt.Errorf("remove an earlier unpacked archive: %w", err)
	}
	if err := os.Mkdir(tree, 0o700); err != nil {
		return fmt.Errorf("make the private directory: %w", err)
	}
	return nil
}

func (d *deployment) unpackTree(ctx context.Context) (files, bytes int64, err error) {
	root, err := os.OpenRoot(d.path(treeDir))
	if err != nil {
		return 0, 0, err
	}
	defer root.Close()
	r, err := d.fetching().Open()
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	free, _, err := fetch.DiskSpace(d.in.DataDir)
	if err != nil {
		return 0, 0, err
	}
	lim := archive.DefaultLimits()
	lim.Room = max(free-fetch.Reserve, 1)
	d.entries = nil
	return archive.Unpack(ctx, r, d.doc.Archive.Size, d.doc.Archive.Format, root, lim, func(e archive.Entry) {
		if d.doc.Action == "store" {
			d.entries = append(d.entries, e)
		}
	})
}

func countFiles(n int64) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}
