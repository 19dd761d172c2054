package e2e_test

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/unabletest"
)

// Sizes of the large test. Large is beyond 4 GiB, where sizes and offsets of a zip need zip64 and
// fragments grow to 2 MiB.
const (
	smallArchive = 64 << 20
	largeArchive = 4<<30 + 64<<20
	largeDisk    = 24 << 30 // archive, server's and agent's fragments, and the unpacked tree, for both formats
	largeLimit   = 10 * time.Minute
)

// largeGrowth is how much more memory a process may take at its peak for an archive 65 times as large.
// Honest growth is in buffers of one fragment, 2 MiB instead of 1 and doubled while they fill, and in the
// list of fragments, 2,080 of 100 bytes each wherever the instruction is decoded; garbage that waits to be
// collected doubles that, and the 19 MiB of one login may be among it. An archive held in memory, or a
// hundredth of one, would show.
const largeGrowth = 24 << 20

// TestLarge brings archives of more than 4 GiB from an author's file through server and agent to a
// command that reads them, and looks at the memory of every process on the way. `make test-large` runs it.
func TestLarge(t *testing.T) {
	if os.Getenv("MUSTER_TEST_LARGE") == "" {
		t.Skip("takes minutes and 24 GiB of disk: make test-large runs it")
	}
	var disk syscall.Statfs_t
	require.NoError(t, syscall.Statfs(t.TempDir(), &disk))
	if free := disk.Bavail * uint64(disk.Bsize); free < largeDisk {
		unabletest.Skip(t, "%d bytes of disk are needed in %s, %d are free", int64(largeDisk), t.TempDir(), free)
	}
	s := startServer(t, "")
	line := meterLine(t, s)
	line.login(t, s)
	a := startAgent(t, s)
	peaks := watchPeaks(t, map[string]*process{"muster-server": s.process, "muster-agent": a.process})

	formats := map[string]func(*testing.T, string, int64){"zip": writeLargeZip, "tar.gz": writeLargeTarGz}
	for format, write := range formats {
		carryLarge(t, s, a, line, peaks, format, write, smallArchive)
	}
	small := peaks.snapshot()
	for format, write := range formats {
		carryLarge(t, s, a, line, peaks, format, write, largeArchive)
	}
	large := peaks.snapshot()
	for _, name := range []string{"muster", "muster-server", "muster-agent", "muster-agent task"} {
		t.Logf("%-20s peak memory: %6.1f MiB for 64 MiB, %6.1f MiB for 4 GiB", name, mebibytes(small[name]), mebibytes(large[name]))
		require.NotZero(t, small[name], "%s was never seen", name)
	}
	for name := range large { // the runner too, when it was there long enough to be seen
		if small[name] == 0 {
			continue
		}
		require.Less(t, large[name]-small[name], int64(largeGrowth), "the memory of %s grows with the archive", name)
	}
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// carryLarge takes one archive the whole way. The upload is cut in the middle and goes on.
func carryLarge(t *testing.T, s *server, a *agent, line *meteredLine, peaks *peaks, format string, write func(*testing.T, string, int64), size int64) {
	t.Helper()
	name := fmt.Sprintf("large-%s-%d", strings.ReplaceAll(format, ".", "-"), size>>20)
	path := filepath.Join(t.TempDir(), name+"."+format)
	began := time.Now()
	write(t, path, size)
	info, err := os.Stat(path)
	require.NoError(t, err)
	step(t, &began, "%s: %d bytes written", name, info.Size())

	before := line.sent.Load()
	id := line.createCut(t, peaks, info.Size(), "package", "create", path, "--name", name, "--version", "1", "--action", "launch", "--activate", "--", "check.sh")
	extra := line.sent.Load() - before - info.Size()
	step(t, &began, "%s: uploaded, with a cut in the middle; %.2f MiB sent beside its bytes", name, mebibytes(extra))
	// TLS and HTTP add less than 1 %. What was on its way when the line was cut is sent again; most of it is
	// what the sockets of the line in between hold.
	require.Less(t, extra, info.Size()/100+16<<20, "a cut upload sends again what had arrived")
	require.NoError(t, os.Remove(path))

	deployment, _ := s.assign(t, id, a.device)
	d := s.awaitLong(t, deployment, largeLimit, "succeeded")
	step(t, &began, "%s: fetched, unpacked and run", name)
	require.Equal(t, fmt.Sprintf("%d\nlast words\n", size), d.Output)
	await(t, "the device to clean up", func() (bool, string) {
		left, err := filepath.Glob(filepath.Join(a.data, "fragments", "*"))
		return err == nil && len(left) == 0, fmt.Sprint(len(left), " fragments")
	})
}

func step(t *testing.T, began *time.Time, format string, args ...any) {
	t.Helper()
	t.Logf(format+" (%.1f s)", append(args, time.Since(*began).Seconds())...)
	*began = time.Now()
}

// checkScript runs on the device: the large file has its length and its end.
var checkScript = []byte("#!/bin/sh\nset -eu\nstat -c %s large.bin\ntail -c 11 large.bin\n")

// large writes size bytes that no compression makes smaller, and known ones at the end.
func large(t *testing.T, w io.Writer, size int64) {
	t.Helper()
	const end = "last words\n"
	_, err := io.CopyN(w, rand.NewChaCha8([32]byte{byte(size >> 20)}), size-int64(len(end)))
	require.NoError(t, err)
	_, err = io.WriteString(w, end)
	require.NoError(t, err)
}

func create(t *testing.T, path string) (io.Writer, func()) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	b := bufio.NewWriterSize(f, 1<<20)
	return b, func() {
		require.NoError(t, b.Flush())
		require.NoError(t, f.Close())
	}
}

// writeLargeZip stores the file as streaming writers do, with its size behind it. The script comes last,
// so that its own offset needs zip64 too.
func writeLargeZip(t *testing.T, path string, size int64) {
	t.Helper()
	out, done := create(t, path)
	w := zip.NewWriter(out)
	big, err := w.CreateHeader(&zip.FileHeader{Name: "large.bin", Method: zip.Store})
	require.NoError(t, err)
	large(t, big, size)
	script, err := w.CreateHeader(&zip.FileHeader{Name: "check.sh", Method: zip.Deflate})
	require.NoError(t, err)
	_, err = script.Write(checkScript)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	done()
}

func writeLargeTarGz(t *testing.T, path string, size int64) {
	t.Helper()
	out, done := create(t, path)
	gz, err := gzip.NewWriterLevel(out, gzip.NoCompression) // it would only cost time
	require.NoError(t, err)
	w := tar.NewWriter(gz)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "large.bin", Mode: 0o644, Size: size, Typeflag: tar.TypeReg}))
	large(t, w, size)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "check.sh", Mode: 0o755, Size: int64(len(checkScript)), Typeflag: tar.TypeReg}))
	_, err = w.Write(checkScript)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, gz.Close())
	done()
}

// meteredLine passes connections on to the server, counts what is sent, and can be cut.
type meteredLine struct {
	address string
	config  string // of the command line, logged in over the line
	sent    atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]bool
	cutAt int64 // of sent; 0 is never
}

func meterLine(t *testing.T, s *server) *meteredLine {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := &meteredLine{address: l.Addr().String(), conns: map[net.Conn]bool{}}
	t.Cleanup(func() { l.Close(); m.cut() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go m.pass(client, "127.0.0.1:"+s.port)
		}
	}()
	return m
}

func (m *meteredLine) pass(client net.Conn, to string) {
	server, err := net.Dial("tcp", to)
	if err != nil {
		client.Close()
		return
	}
	m.mu.Lock()
	m.conns[client], m.conns[server] = true, true
	m.mu.Unlock()
	go func() {
		_, _ = io.Copy(client, server)
		client.Close()
	}()
	_, _ = io.Copy(server, &metered{client, m})
	server.Close()
	client.Close()
	m.mu.Lock()
	delete(m.conns, client)
	delete(m.conns, server)
	m.mu.Unlock()
}

// metered counts what a client sends. Its type hides the connection's own ways to copy.
type metered struct {
	r io.Reader
	m *meteredLine
}

func (c *metered) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	sent := c.m.sent.Add(int64(n))
	c.m.mu.Lock()
	due := c.m.cutAt > 0 && sent >= c.m.cutAt
	if due {
		c.m.cutAt = 0
	}
	c.m.mu.Unlock()
	if due {
		c.m.cut()
	}
	return n, err
}

func (m *meteredLine) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		c.Close()
	}
}

func (m *meteredLine) cutAfter(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cutAt = m.sent.Load() + n
}

// createCut runs `muster package create` over the line: the line is cut after a third, by which the
// program is not disturbed; after two thirds it is interrupted, and goes on by --resume.
func (m *meteredLine) createCut(t *testing.T, p *peaks, size int64, args ...string) string {
	t.Helper()
	m.cutAfter(size / 3)
	stopAt := m.sent.Load() + size/3*2
	r := m.muster(t, p, func() bool { return m.sent.Load() >= stopAt }, args...)
	require.NotZero(t, r.code, "it was not interrupted: %s%s", r.stdout, r.stderr)
	resume := regexp.MustCompile(`--resume (\S+)`).FindStringSubmatch(r.stderr)
	require.Len(t, resume, 2, r.stderr)

	at := len(args) - 2 // before the command
	r = m.muster(t, p, func() bool { return false }, append(append(append([]string{}, args[:at]...), "--resume", resume[1]), args[at:]...)...)
	require.Zero(t, r.code, "%s%s", r.stdout, r.stderr)
	var made struct {
		ID    string `json:"id"`
		State string `json:"state"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &made), r.stdout)
	require.Equal(t, "active", made.State)
	return made.ID
}

// login makes a configuration of the command line that leads over the line.
func (m *meteredLine) login(t *testing.T, s *server) {
	t.Helper()
	dir := t.TempDir()
	passwordFile := filepath.Join(dir, "password")
	m.config = filepath.Join(dir, "config.json")
	require.NoError(t, os.WriteFile(passwordFile, []byte(s.password+"\n"), 0o600))
	succeed(t, nil, "muster", "--config", m.config, "login", "https://"+m.address, "--username", "admin", "--password-file", passwordFile, "--ca-fingerprint", s.caHash)
}

// muster runs the command line until it ends, or until stop says to interrupt it.
func (m *meteredLine) muster(t *testing.T, p *peaks, stop func() bool, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), largeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program("muster"), append([]string{"--config", m.config, "--json"}, args...)...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // judged by its exit code
		close(ended)
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for running, told := true, false; running; {
		select {
		case <-ended:
			running = false
		case <-tick.C:
			if !told && stop() {
				told = true
				require.NoError(t, cmd.Process.Signal(os.Interrupt))
			}
		}
	}
	require.NoError(t, ctx.Err(), "muster %v did not end in time", args)
	p.note("muster", cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss<<10)
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// peaks knows the greatest memory that each program ever took.
type peaks struct {
	mu   sync.Mutex
	most map[string]int64
}

// watchPeaks looks at the processes, and at what the agent starts, ten times a second. The kernel keeps
// the peak itself, so that nothing between two looks is missed except at a process's very end.
func watchPeaks(t *testing.T, processes map[string]*process) *peaks {
	t.Helper()
	p := &peaks{most: map[string]int64{}}
	quit, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(quit); <-done })
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			for name, process := range processes {
				p.note(name, peakOf(process.cmd.Process.Pid))
			}
			agent := processes["muster-agent"].cmd.Process.Pid
			for pid, what := range descendants(agent) {
				p.note("muster-agent "+what, peakOf(pid))
			}
		}
	}()
	return p
}

func (p *peaks) note(name string, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most[name] = max(p.most[name], n)
}

func (p *peaks) snapshot() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	copied := map[string]int64{}
	for name, n := range p.most {
		copied[name] = n
	}
	return copied
}

// peakOf is the high-water mark of a process's resident memory, in bytes; 0 when it is gone.
func peakOf(pid int) int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return field(string(status), "VmHWM:") << 10
}

// descendants are the task processes of the agent and their runners, by process id.
func descendants(agent int) map[int]string {
	found := map[int]string{}
	children := func(parent int, what string) (pids []int) {
		var list []byte
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
		for _, file := range threads {
			more, _ := os.ReadFile(file)
			list = append(list, more...)
		}
		for _, field := range strings.Fields(string(list)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				continue
			}
			command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if args := strings.Split(string(command), "\x00"); len(args) > 1 && args[1] == what {
				found[pid] = what
				pids = append(pids, pid)
			}
		}
		return pids
	}
	for _, task := range children(agent, "task") {
		children(task, "runner")
	}
	return found
}
