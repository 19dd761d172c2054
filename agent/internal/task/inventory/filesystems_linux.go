package inventory

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/muster/muster/packages/protocol"
)

// Limits of the table of mounts. Hosts of containers have some thousand.
const (
	maxMountInfo = 4 << 20
	maxMounts    = 20_000
)

// mount is one line of /proc/self/mountinfo.
type mount struct {
	device  string // major:minor
	root    string // what of the file system is mounted
	at      string
	options string
	kind    string
	source  string
	super   string // options of the file system
}

// parseMountInfo reads proc_pid_mountinfo(5). Of mounts at one place the last is what is seen.
func parseMountInfo(data []byte) []mount {
	at := map[string]int{}
	var list []mount
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for scanner.Scan() {
		f := strings.Fields(scanner.Text())
		end := slices.Index(f, "-")
		if end < 6 || len(f) < end+4 {
			continue
		}
		m := mount{
			device: f[2], root: unescapeMount(f[3]), at: unescapeMount(f[4]), options: f[5],
			kind: f[end+1], source: unescapeMount(f[end+2]), super: f[end+3],
		}
		if i, ok := at[m.at]; ok {
			list[i] = m
			continue
		}
		if len(list) == maxMounts {
			break
		}
		at[m.at] = len(list)
		list = append(list, m)
	}
	return list
}

// unescapeMount turns \040 and its like into what they stand for.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b = append(b, (s[i+1]-'0')<<6|(s[i+2]-'0')<<3|(s[i+3]-'0'))
			i += 3
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

func octal(c byte) bool { return c >= '0' && c <= '7' }

// remoteKinds are types of file systems that other computers, or the host of a virtual one, hold.
var remoteKinds = []string{
	"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "beegfs", "9p", "virtiofs", "vboxsf", "davfs", "gfs2", "coda", "glusterfs",
	"fuse.glusterfs", "fuse.sshfs", "fuse.davfs2", "fuse.s3fs", "fuse.rclone", "fuse.ceph", "fuse.vmhgfs-fuse", "prl_fs", "fuse.juicefs", "fuse.mfs", "fuse.gcsfuse",
}

// shown reports whether a mount is a file system on a disk or from the network, and not a second view of
// one: a part of another mount, an image of a package, a container's.
func (m *mount) shown() bool {
	switch {
	case slices.Contains(remoteKinds, m.kind):
		return true
	case m.at == "/":
		return m.kind != "rootfs"
	case m.kind == "zfs":
		return true
	case m.kind == "btrfs": // each subvolume has its own place
		return strings.HasPrefix(m.source, "/dev/") && !strings.HasPrefix(m.at, "/var/lib/docker/") && !strings.HasPrefix(m.at, "/var/lib/containers/")
	case m.kind == "squashfs" || m.kind == "erofs":
		return !strings.HasPrefix(m.source, "/dev/loop")
	case m.kind == "devtmpfs" || m.kind == "autofs" || m.kind == "overlay":
		return false
	default:
		return strings.HasPrefix(m.source, "/dev/") && m.root == "/"
	}
}

// findFilesystems lists what is mounted of disks and from the network.
func findFilesystems(ctx context.Context, h *host) ([]protocol.Filesystem, error) {
	data, err := h.Read("proc/self/mountinfo", maxMountInfo)
	if err != nil {
		return nil, err
	}
	mounts := slices.DeleteFunc(parseMountInfo(data), func(m mount) bool { return !m.shown() })
	mounts = withoutSecondViews(mounts)
	labels := h.linkedBy("dev/disk/by-label")
	uuids := h.linkedBy("dev/disk/by-uuid")
	found := []protocol.Filesystem{}
	var problems []error
	for _, m := range mounts {
		block, number := h.block(&m)
		u := h.udev(number)
		f := protocol.Filesystem{
			Row: protocol.Row{Key: m.at, Name: m.at}, Device: m.source, Type: m.kind,
			Label: u["ID_FS_LABEL"], UUID: u["ID_FS_UUID"], Remote: slices.Contains(remoteKinds, m.kind),
			ReadOnly:  hasOption(m.options, "ro") || hasOption(m.super, "ro"),
			Encrypted: h.encrypted(block, 0) || m.kind == "ecryptfs" || m.kind == "fuse.gocryptfs" || m.kind == "fuse.encfs",
		}
		if f.Label == "" {
			f.Label = unescapeUdev(labels[block])
		}
		if f.UUID == "" {
			f.UUID = uuids[block]
		}
		total, free, err := h.askSpace(ctx, m.at)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", m.at, err))
		}
		setSpace(&f, total, free)
		found = append(found, f)
		if ctx.Err() != nil {
			break
		}
	}
	return found, errors.Join(problems...)
}

// withoutSecondViews keeps, of a whole file system that is mounted at several places, the shortest place.
func withoutSecondViews(list []mount) []mount {
	best := map[string]string{}
	id := func(m mount) string { return m.device + " " + m.root + " " + m.source }
	for _, m := range list {
		old, ok := best[id(m)]
		if !ok || len(m.at) < len(old) || len(m.at) == len(old) && m.at < old {
			best[id(m)] = m.at
		}
	}
	return slices.DeleteFunc(list, func(m mount) bool { return best[id(m)] != m.at })
}

func hasOption(options, name string) bool {
	return slices.Contains(strings.Split(options, ","), name)
}

// askSpace asks how large a file system is, and does not wait for one that does not answer.
func (h *host) askSpace(ctx context.Context, at string) (total, free int64, err error) {
	type answer struct {
		total, free int64
		err         error
	}
	result := make(chan answer, 1)
	go func() {
		var a answer
		a.total, a.free, a.err = h.space(at)
		result <- a
	}()
	select {
	case a := <-result:
		return a.total, a.free, a.err
	case <-h.spaceOver(at):
	case <-ctx.Done():
	}
	return 0, 0, errors.New("the file system does not answer")
}

// block finds the name and number of the block device under a mount; both are empty for others.
func (h *host) block(m *mount) (name, number string) {
	if !strings.HasPrefix(m.source, "/dev/") {
		return "", ""
	}
	name = path.Base(m.source)
	if target := h.Link(strings.TrimPrefix(m.source, "/")); target != "" { // /dev/mapper/x → ../dm-0
		name = path.Base(target)
	}
	number = m.device
	if strings.HasPrefix(number, "0:") { // btrfs has numbers of its own
		number = h.Line("sys/class/block/" + name + "/dev")
	}
	return name, number
}

// linkedBy reads a folder of links to devices: the device's name → the link's.
func (h *host) linkedBy(folder string) map[string]string {
	found := map[string]string{}
	for _, name := range h.Names(folder) {
		if target := h.Link(folder + "/" + name); target != "" {
			found[path.Base(target)] = name
		}
	}
	return found
}

// encrypted reports whether a block device, or one that it is made of, is encrypted by dm-crypt.
func (h *host) encrypted(block string, depth int) bool {
	if block == "" || depth > 8 {
		return false
	}
	dir := "sys/class/block/" + block + "/"
	if strings.HasPrefix(h.Line(dir+"dm/uuid"), "CRYPT-") {
		return true
	}
	for _, below := range h.Names(dir + "slaves") {
		if h.encrypted(below, depth+1) {
			return true
		}
	}
	return false
}
