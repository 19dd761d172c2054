package deploy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/muster/muster/agent/internal/safepath"
	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/protocol"
)

// storeFiles places the unpacked contents under the store path. Every file appears whole or not at all;
// after a crash all of them are placed again.
func (d *deployment) storeFiles() error {
	target := filepath.Clean(d.doc.StorePath)
	if !filepath.IsAbs(target) {
		return end(protocol.StateFailed, protocol.ReasonStorePath, "%q is not an absolute path on %s", d.doc.StorePath, runtime.GOOS)
	}
	if err := safepath.Parents(target); err != nil {
		return storeRefusal(err)
	}
	if err := d.started(); err != nil {
		return err
	}
	if err := atomicfile.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", target, err)
	}
	if err := safepath.Parents(target); err != nil { // again: parents may be new
		return storeRefusal(err)
	}
	p, err := newPlacer(d.path(treeDir), target)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.placeAll(d.entries); err != nil {
		return err
	}
	if err := p.sync(); err != nil {
		return fmt.Errorf("place files: %w", err)
	}
	files, bytes := p.files.Load(), p.bytes.Load()
	e := end(protocol.StateSucceeded, protocol.ReasonStored, "%s, %d bytes placed under %s", countFiles(files), bytes, target)
	e.report.Files, e.report.Bytes = files, bytes
	return e
}

func storeRefusal(err error) error {
	var unsafe *safepath.UnsafeError
	if errors.As(err, &unsafe) {
		return end(protocol.StateFailed, protocol.ReasonStorePath, "%v", err)
	}
	return fmt.Errorf("check the store path: %w", err)
}

// placer copies entries from the unpacked tree to the target, both as os.Root, so that no link leads out.
type placer struct {
	from, to     *os.Root
	owner        bool // the recorded owner can be set
	files, bytes atomic.Int64
	mu           sync.Mutex
	touched      map[string]bool // directories in which something was placed
}

// placeAtOnce is how many files are written side by side: each is brought to the disk before it gets its
// name, and a file system commits many together in little more time than one.
const placeAtOnce = 16

// placeAll places directories first, whose recorded mode is theirs only when they are new, then files, then
// links.
func (p *placer) placeAll(entries []archive.Entry) error {
	var files, links []archive.Entry
	for _, e := range entries {
		switch {
		case e.Dir:
			if err := p.dir(filepath.FromSlash(e.Name), e); err != nil {
				return fmt.Errorf("place %s: %w", e.Name, err)
			}
		case e.Link != "":
			links = append(links, e)
		default:
			files = append(files, e)
		}
	}
	var group errgroup.Group
	group.SetLimit(placeAtOnce)
	for _, e := range files {
		group.Go(func() error {
			if err := p.file(filepath.FromSlash(e.Name), e); err != nil {
				return fmt.Errorf("place %s: %w", e.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, e := range links {
		if err := p.link(filepath.FromSlash(e.Name), e); err != nil {
			return fmt.Errorf("place %s: %w", e.Name, err)
		}
	}
	return nil
}

// touch remembers that something was placed in the directory of name, which may be new itself.
func (p *placer) touch(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for dir := filepath.Dir(name); !p.touched[dir]; dir = filepath.Dir(dir) { // "." is touched from the start
		p.touched[dir] = true
	}
}

func newPlacer(tree, target string) (*placer, error) {
	from, err := os.OpenRoot(tree)
	if err != nil {
		return nil, err
	}
	to, err := os.OpenRoot(target)
	if err != nil {
		from.Close()
		return nil, err
	}
	return &placer{from: from, to: to, owner: os.Geteuid() == 0, touched: map[string]bool{".": true}}, nil
}

// sync brings the names of what was placed to the disk, so that no power cut takes back what is reported
// as stored.
func (p *placer) sync() error {
	for dir := range p.touched {
		if err := atomicfile.SyncDir(filepath.Join(p.to.Name(), dir)); err != nil {
			return err
		}
	}
	return nil
}

func (p *placer) close() {
	p.from.Close()
	p.to.Close()
}

func (p *placer) dir(name string, e archive.Entry) error {
	info, err := p.to.Lstat(name)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("a directory cannot replace the file that is there: %w", fs.ErrExist)
	case err == nil:
		return nil // an existing directory keeps its owner and mode
	}
	if err := p.to.MkdirAll(name, 0o755); err != nil {
		return err
	}
	p.touch(name)
	if err := p.chown(name, e); err != nil {
		return err
	}
	return p.to.Chmod(name, e.Mode.Perm()|0o700)
}

func (p *placer) parent(name string) error {
	p.touch(name)
	dir := filepath.Dir(name)
	if dir == "." {
		return nil
	}
	return p.to.MkdirAll(dir, 0o755)
}

// temporary is the name under which a file is written before it is renamed. It is derived from the final
// name, so that a repetition replaces what a crash left.
func temporary(name string) string {
	return filepath.Join(filepath.Dir(name), ".muster-"+filepath.Base(name)+".tmp")
}

func (p *placer) file(name string, e archive.Entry) error {
	if err := p.parent(name); err != nil {
		return err
	}
	src, err := p.from.Open(name)
	if err != nil {
		return err
	}
	defer src.Close()
	tmp := temporary(name)
	if err := p.to.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dst, err := p.to.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(dst, src)
	if err == nil {
		err = p.chown(tmp, e)
	}
	if err == nil && runtime.GOOS != "windows" {
		err = dst.Chmod(e.Mode.Perm())
	}
	if err == nil {
		err = dst.Sync()
	}
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = p.to.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, p.to.Remove(tmp))
	}
	p.files.Add(1)
	p.bytes.Add(n)
	return nil
}

// link places a symbolic link atomically. The archive's checks made sure that it stays inside.
func (p *placer) link(name string, e archive.Entry) error {
	if err := p.parent(name); err != nil {
		return err
	}
	info, err := p.from.Lstat(name)
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() { // a hard link inside the archive: a file of its own here
		return p.file(name, e)
	}
	tmp := temporary(name)
	if err := p.to.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := p.to.Symlink(filepath.FromSlash(path.Clean(e.Link)), tmp); err != nil {
		return err
	}
	if err := p.to.Rename(tmp, name); err != nil {
		return errors.Join(err, p.to.Remove(tmp))
	}
	p.files.Add(1)
	return nil
}

// chown sets the recorded owner, when there is one and we may.
func (p *placer) chown(name string, e archive.Entry) error {
	if !p.owner || (e.UID < 0 && e.GID < 0) {
		return nil
	}
	return p.to.Lchown(name, e.UID, e.GID)
}
