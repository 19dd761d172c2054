package inventory

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/muster/muster/packages/protocol"
)

// ticks are those of a second in /proc/PID/stat: USER_HZ, 100 on every system that the agent is built for.
const ticks = 100

// findProcesses lists the running programs, without the kernel's own threads. Their arguments are told as
// they are, and some programs are given secrets there: the section is collected only where the device's
// configuration asks for it.
func findProcesses(ctx context.Context, h *host) ([]protocol.Process, error) {
	users := map[string]string{}
	if data, err := h.Read("etc/passwd", maxAccounts); err == nil {
		for _, a := range parsePasswd(data) {
			id := strconv.FormatInt(a.uid, 10)
			if users[id] == "" {
				users[id] = a.name
			}
		}
	}
	boot := h.BootTime()
	page := int64(os.Getpagesize())
	found := []protocol.Process{}
	names := h.Names("proc")
	if len(names) == 0 {
		return nil, fmt.Errorf("/proc cannot be read")
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid < 1 {
			continue
		}
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
		dir := "proc/" + name + "/"
		p, start, ok := parseStat(h.Bytes(dir+"stat"), page)
		command := h.Bytes(dir + "cmdline")
		if !ok || len(command) == 0 { // gone meanwhile, or the kernel's
			continue
		}
		p.PID = pid
		p.Key = name + "-" + strconv.FormatUint(start, 10)
		p.Command = string(bytes.TrimSpace(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		uid := statusUID(h.Bytes(dir + "status"))
		if p.User = users[uid]; p.User == "" {
			p.User = uid
		}
		if !boot.IsZero() && start < 1<<40 {
			at := boot.Add(time.Duration(start) * (time.Second / ticks)).UTC().Truncate(time.Second)
			p.Started = &at
		}
		found = append(found, p)
	}
	return found, nil
}

// parseStat reads proc_pid_stat(5): the name in parentheses, which may hold any character, then from the
// third field on the start in ticks after boot (22nd) and the resident pages (24th).
func parseStat(data []byte, page int64) (p protocol.Process, start uint64, ok bool) {
	begin, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if begin < 0 || end < begin {
		return p, 0, false
	}
	p.Name = string(data[begin+1 : end])
	f := bytes.Fields(data[end+1:])
	if len(f) < 22 {
		return p, 0, false
	}
	start, err := strconv.ParseUint(string(f[19]), 10, 64)
	pages, err2 := strconv.ParseInt(string(f[21]), 10, 64)
	if err != nil || err2 != nil || pages < 0 || pages > 1<<40 {
		return p, 0, false
	}
	p.RSS = pages * page
	return p, start, true
}

// statusUID is the real user's number of /proc/PID/status.
func statusUID(data []byte) string {
	for line := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(line, []byte("Uid:")); ok {
			if f := bytes.Fields(rest); len(f) > 0 {
				return string(f[0])
			}
		}
	}
	return ""
}
