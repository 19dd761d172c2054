package session_test

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/identity"
)

// line passes connections on to a server until it is told to swallow what they carry, which it does as
// some proxies do with connections that were idle: without a word.
type line struct {
	address string
	mu      sync.Mutex
	dead    []*atomic.Bool
}

func newLine(t *testing.T, s *agenttest.Server) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	n := &line{address: "https://" + l.Addr().String()}
	target := strings.TrimPrefix(s.URL(), "https://")
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				_ = near.Close()
				continue
			}
			dead := &atomic.Bool{}
			n.mu.Lock()
			n.dead = append(n.dead, dead)
			n.mu.Unlock()
			go pass(near, far, dead)
			go pass(far, near, dead)
		}
	}()
	return n
}

func pass(from, to net.Conn, dead *atomic.Bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if dead.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// forget makes every present connection a dead one; new ones work.
func (n *line) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.dead {
		d.Store(true)
	}
}

// A connection that something in between has forgotten is found out by its pings. A wakeup that went into
// it is made up for by the greeting of the next one.
func TestSession_noticesALineThatDiedWithoutAWord(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	n := newLine(t, s)
	store := enroll(t, s)
	id, err := store.Load()
	require.NoError(t, err)
	id.URLs = []string{n.address}
	require.NoError(t, store.Save(id))
	require.NoError(t, store.SaveState(identity.State{NextCheckIn: time.Now().Add(time.Hour)}))
	h := openPinging(t, s, store, "@every 2h", time.Second)
	h.start(t)
	eventually(t, "connected, and greeted", func() bool { return h.Status().Connected && len(s.CheckIns()) > 0 })
	for range 2 {
		eventually(t, "check-ins settle", func() bool { return h.Status().Connected && h.offered() == len(s.CheckIns()) })
		before := len(s.CheckIns())
		n.forget()
		s.Wakeup() // into the void
		eventually(t, "a check-in over a new connection", func() bool { return len(s.CheckIns()) > before })
	}
}

// A bug in a session must not leave a program behind that looks alive and serves one server less: it ends
// the program, and the service manager starts it again.
func TestSession_aBugEndsTheProgram(t *testing.T) {
	t.Parallel()
	const inside = "MUSTER_TEST_BUG"
	if os.Getenv(inside) != "" {
		s := agenttest.New(t)
		h := open(t, s, enroll(t, s), "@every 1h")
		h.bug = true
		h.Run(t.Context())
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.timeout=60s", "-test.run=^TestSession_aBugEndsTheProgram$")
	cmd.Env = append(os.Environ(), inside+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "it lives on: %s", out)
	require.Contains(t, string(out), "panic: a bug")
}
