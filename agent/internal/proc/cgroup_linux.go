package proc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cgroupPrefix starts the names of the cgroups that runners make.
const cgroupPrefix = "muster-run-"

// cgroup is a cgroup v2 of one command: the kernel keeps every process in it that comes from the command,
// and kills them all at one word.
type cgroup struct {
	dir  string
	file *os.File
}

// newCgroup makes a cgroup below the runner's own. It returns nil where cgroup v2 is not mounted or not
// ours to write; walking /proc does the same then, only less strictly.
func newCgroup() *cgroup {
	parent := ownCgroup()
	if parent == "" {
		return nil
	}
	removeEmpty(parent)
	dir, err := os.MkdirTemp(parent, cgroupPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil
	}
	file, err := os.Open(dir)
	if err != nil {
		_ = os.Remove(dir)
		return nil
	}
	return &cgroup{dir: dir, file: file}
}

// ownCgroup is the folder of this process's cgroup v2, or empty.
func ownCgroup() string {
	mount := ""
	for _, line := range lines("/proc/self/mounts") {
		if fields := strings.Fields(line); len(fields) >= 3 && fields[2] == "cgroup2" {
			mount = fields[1]
			break
		}
	}
	if mount == "" {
		return ""
	}
	for _, line := range lines("/proc/self/cgroup") {
		if path, ok := strings.CutPrefix(line, "0::"); ok && !strings.Contains(path, "..") {
			return filepath.Join(mount, path)
		}
	}
	return ""
}

// removeEmpty removes what earlier runners left, not what one that lives has made and put nothing in yet. The
// kernel refuses to remove one that holds processes.
func removeEmpty(parent string) {
	old, err := filepath.Glob(filepath.Join(parent, cgroupPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range old {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), cgroupPrefix), "-")
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(dir)
		}
	}
}

func lines(path string) []string {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Split(string(data), "\n")
}

func (c *cgroup) fd() int { return int(c.file.Fd()) }

// kill kills every process in the cgroup. Kernels before 5.14 cannot; the walk over /proc remains.
func (c *cgroup) kill() {
	_ = os.WriteFile(filepath.Join(c.dir, "cgroup.kill"), []byte("1"), 0)
}

// limitMemory limits the memory of all processes in the cgroup together. It does nothing where the kernel's
// memory controller is not handed down to us; whoever watches the processes ends them then.
func (c *cgroup) limitMemory(bytes int64) {
	_ = os.WriteFile(filepath.Join(c.dir, "memory.oom.group"), []byte("1"), 0) // all of them go, not the largest alone
	_ = os.WriteFile(filepath.Join(c.dir, "memory.swap.max"), []byte("0"), 0)
	_ = os.WriteFile(filepath.Join(c.dir, "memory.max"), []byte(strconv.FormatInt(bytes, 10)), 0)
}

// killedForMemory reports whether the kernel ended processes in the cgroup for its memory limit.
func (c *cgroup) killedForMemory() bool {
	for _, line := range lines(filepath.Join(c.dir, "memory.events")) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok && n != "0" {
			return true
		}
	}
	return false
}

// close removes the cgroup unless processes of the command live on in it.
func (c *cgroup) close() {
	_ = c.file.Close()
	_ = os.Remove(c.dir)
}
