package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/unabletest"
)

// Addresses and names on a wire. The server is known by the names alone.
const (
	wireWorld  = "10.99.0.1" // the world's end, where relays listen
	wireMoved  = "10.99.0.2" // where they may move to
	wireNobody = "10.99.0.9" // what is sent there vanishes
	wireSix    = "fd00:6d::1"
	wirePort   = "8443"

	wireName   = "muster.test"
	wireSecond = "second.test"
)

// wirePrefix begins the names of all namespaces of these tests; the process id follows.
const wirePrefix = "muster-e2e-"

var (
	wires     atomic.Int64
	sweepOnce sync.Once
)

// wire is a network of its own: one namespace with the agent, one with the world, a cable between.
type wire struct {
	agent, world string // names of the namespaces
	env          []string
}

// newWire makes a wire that goes away with the test.
func newWire(t *testing.T) *wire {
	t.Helper()
	if os.Geteuid() != 0 {
		unabletest.Skip(t, "a network namespace needs root")
	}
	if find("ip") == "" {
		unabletest.Skip(t, "ip is not here: install iproute2")
	}
	sweepOnce.Do(sweep)
	name := fmt.Sprintf("%s%d-%d", wirePrefix, os.Getpid(), wires.Add(1))
	w := &wire{agent: name + "a", world: name + "w"}
	for _, ns := range []string{w.agent, w.world} {
		t.Cleanup(func() { dropNamespace(ns) })
		if out, err := exec.Command(find("ip"), "netns", "add", ns).CombinedOutput(); err != nil {
			unabletest.Skip(t, "ip netns add: %v %s", err, out)
		}
		ip(t, "-n", ns, "link", "set", "lo", "up")
	}
	if out, err := exec.Command(find("ip"), "link", "add", "cable", "netns", w.agent, "type", "veth", "peer", "name", "cable", "netns", w.world).CombinedOutput(); err != nil {
		unabletest.Skip(t, "make a veth pair: %v %s", err, out)
	}
	for ns, addresses := range map[string][]string{
		w.world: {wireWorld + "/24", wireMoved + "/24", wireSix + "/64"}, w.agent: {"10.99.0.3/24", "fd00:6d::3/64"},
	} {
		for _, a := range addresses {
			args := []string{"-n", ns, "addr", "add", a, "dev", "cable"}
			if strings.Contains(a, ":") {
				args = append(args, "nodad")
			}
			ip(t, args...)
		}
		ip(t, "-n", ns, "link", "set", "cable", "up")
	}
	// Nobody has this hardware address: no answer comes, not even a refusal.
	ip(t, "-n", w.agent, "neigh", "add", wireNobody, "lladdr", "02:00:00:00:00:99", "dev", "cable")
	w.etc(t, "hosts", fmt.Sprintf("127.0.0.1 localhost\n%s %s\n%s %s\n%s dead.test\n", wireWorld, wireName, wireWorld, wireSecond, wireNobody))
	w.etc(t, "resolv.conf", "nameserver "+wireWorld+"\noptions timeout:1 attempts:1\n")
	return w
}

// sweep removes what a run left that was killed.
func sweep() {
	for _, dir := range []string{"/run/netns", "/etc/netns"} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			rest, ours := strings.CutPrefix(e.Name(), wirePrefix)
			pid, err := strconv.Atoi(strings.SplitN(rest, "-", 2)[0])
			if !ours || err != nil {
				continue
			}
			if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); os.IsNotExist(err) {
				dropNamespace(e.Name())
			}
		}
	}
}

func dropNamespace(ns string) {
	_ = exec.Command(find("ip"), "netns", "del", ns).Run()
	_ = os.RemoveAll(filepath.Join("/etc/netns", ns))
	_ = os.Remove("/etc/netns") // when it was the last
}

// etc is a file of /etc as the agent sees it.
func (w *wire) etc(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join("/etc/netns", w.agent, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command(find("ip"), args...).CombinedOutput()
	require.NoError(t, err, "ip %v: %s", args, out)
}

// plugged sets the cable: unplugged, packets vanish and nobody hears of it.
func (w *wire) plugged(t *testing.T, in bool) {
	t.Helper()
	state := "down"
	if in {
		state = "up"
	}
	ip(t, "-n", w.world, "link", "set", "cable", state)
}

// slow limits what comes to the agent, in megabits per second.
func (w *wire) slow(t *testing.T, megabits int) {
	t.Helper()
	if find("tc") == "" {
		unabletest.Skip(t, "tc is not here: install iproute2")
	}
	args := []string{"netns", "exec", w.world, find("tc"), "qdisc", "replace", "dev", "cable", "root", "tbf", "rate", fmt.Sprintf("%dmbit", megabits), "burst", "32k", "latency", "300ms"}
	if out, err := exec.Command(find("ip"), args...).CombinedOutput(); err != nil {
		unabletest.Skip(t, "tc: %v %s", err, out)
	}
}

// inside runs fn on a thread that is in a namespace. Sockets that fn makes stay there.
func inside(t *testing.T, ns string, fn func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		handle, err := os.Open("/run/netns/" + ns)
		if err == nil {
			err = unix.Setns(int(handle.Fd()), unix.CLONE_NEWNET)
			handle.Close()
		}
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	require.NoError(t, <-done)
}

// listen opens a port in the world.
func (w *wire) listen(t *testing.T, address string) net.Listener {
	t.Helper()
	var l net.Listener
	inside(t, w.world, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	t.Cleanup(func() { l.Close() })
	return l
}

// at is a program of ours in the agent's namespace.
func (w *wire) at(name string, args ...string) []string {
	return append([]string{"netns", "exec", w.agent, program(name)}, args...)
}

func (w *wire) command(t *testing.T, name string, args ...string) result {
	t.Helper()
	return command(t, w.env, find("ip"), w.at(name, args...)...)
}

// join enrolls the agent over the wire. Without addresses it takes those that the server names.
func (w *wire) join(t *testing.T, s *server, addresses ...string) *agent {
	t.Helper()
	a, r := w.tryJoin(t, s, addresses...)
	require.Zero(t, r.code, "%s%s", r.stdout, r.stderr)
	_, rest, _ := strings.Cut(r.stdout, " as device ")
	a.device, _, _ = strings.Cut(rest, " ")
	a.configure(t, map[string]any{"schedule": "@every 10s", "jitter": "0s"})
	return a
}

func (w *wire) tryJoin(t *testing.T, s *server, addresses ...string) (*agent, result) {
	t.Helper()
	e, err := protocol.ParseEnrollment(s.enrollment(t))
	require.NoError(t, err)
	if addresses == nil {
		addresses = []string{"https://" + wireName + ":" + wirePort}
	}
	e.URLs = addresses
	a := &agent{data: filepath.Join(t.TempDir(), "agent")}
	return a, w.command(t, "muster-agent", "enroll", "--data", a.data, e.String())
}

// run keeps the agent running at its end of the wire.
func (w *wire) run(t *testing.T, a *agent) {
	t.Helper()
	cmd := exec.Command(find("ip"), w.at("muster-agent", "run", "--data", a.data)...)
	cmd.Env = append(os.Environ(), w.env...)
	a.process = startCommand(t, cmd)
}

// once lets the agent check in once, and returns what it says.
func (w *wire) once(t *testing.T, a *agent) result {
	t.Helper()
	return w.command(t, "muster-agent", "once", "--data", a.data)
}
