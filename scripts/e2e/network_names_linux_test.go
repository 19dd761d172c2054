package e2e_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// names is a name server in the world. Without an address it answers that it is broken.
type names struct {
	asked   atomic.Int64
	mu      sync.Mutex
	address string
}

func (w *wire) names(t *testing.T) *names {
	t.Helper()
	n := &names{}
	var conn net.PacketConn
	inside(t, w.world, func() (err error) {
		conn, err = net.ListenPacket("udp", wireWorld+":53")
		return err
	})
	t.Cleanup(func() { conn.Close() })
	go n.serve(conn)
	return n
}

func (n *names) point(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.address = address
}

func (n *names) serve(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(buf[:size]); err != nil || len(m.Questions) != 1 {
			continue
		}
		n.asked.Add(1)
		n.mu.Lock()
		address := net.ParseIP(n.address).To4()
		n.mu.Unlock()
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		if address == nil {
			m.RCode = dnsmessage.RCodeServerFailure
		} else if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte(address)},
			}}
		}
		if out, err := m.Pack(); err == nil {
			_, _ = conn.WriteTo(out, from)
		}
	}
}

// namesThatMove: the name server is broken when the agent starts, then works; then the server moves to
// another address, and the old one refuses.
func namesThatMove(t *testing.T, s *server) {
	w := newWire(t)
	w.etc(t, "hosts", "127.0.0.1 localhost\n")
	old, moved := w.relayTo(t, s, net.JoinHostPort(wireWorld, wirePort)), w.relayTo(t, s, net.JoinHostPort(wireMoved, wirePort))
	n := w.names(t)
	n.point(wireWorld)
	a := w.join(t, s)
	n.point("")
	w.run(t, a)
	await(t, "a problem in the status", func() (bool, string) {
		p := a.status(t).Problem
		return strings.Contains(p, "lookup "+wireName), p
	})
	n.point(wireWorld)
	s.awaitConnected(t, a.device)
	require.Zero(t, moved.opened.Load())
	n.point(wireMoved)
	old.refuse(true)
	await(t, "the other address", func() (bool, string) { return moved.opened.Load() > 0, "not yet" })
	s.awaitConnected(t, a.device)
	await(t, "no problem in the status", func() (bool, string) {
		p := a.status(t).Problem
		return p == "", p
	})
}

// connectProxy is a proxy in the world that passes CONNECT for who has the password. It finds names that
// the agent cannot find.
type connectProxy struct {
	passed atomic.Int64
	mu     sync.Mutex
	conns  []net.Conn
}

const proxyAddress = wireWorld + ":3128"

func (w *wire) proxy(t *testing.T, s *server, answer string) *connectProxy {
	t.Helper()
	p := &connectProxy{}
	l := w.listen(t, proxyAddress)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c, "127.0.0.1:"+s.port, answer)
		}
	}()
	t.Cleanup(p.drop)
	return p
}

func (p *connectProxy) serve(c net.Conn, target, answer string) {
	defer c.Close()
	reader := bufio.NewReader(c)
	req, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	password := "Basic " + base64.StdEncoding.EncodeToString([]byte("agent:pass"))
	switch {
	case answer != "":
		_, _ = io.WriteString(c, answer)
		return
	case req.Method != http.MethodConnect || req.Host != wireName+":"+wirePort:
		_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		return
	case req.Header.Get("Proxy-Authorization") != password:
		_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n")
		return
	}
	far, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer far.Close()
	p.passed.Add(1)
	p.mu.Lock()
	p.conns = append(p.conns, c, far)
	p.mu.Unlock()
	_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() { _, _ = io.Copy(far, reader); far.Close() }()
	_, _ = io.Copy(c, far)
}

// drop closes what is open, as proxies do with connections that are idle.
func (p *connectProxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// behindAProxy: the world is reached by a proxy alone, which wants a password and closes what is idle.
// Enrollment, check-ins, the WebSocket and task processes all go through it.
func behindAProxy(t *testing.T, s *server) {
	w := newWire(t)
	w.etc(t, "hosts", "127.0.0.1 localhost\n") // the proxy finds the name, the agent does not
	p := w.proxy(t, s, "")
	w.env = []string{"HTTPS_PROXY=http://agent:pass@" + proxyAddress}
	a := w.join(t, s)
	a.configure(t, map[string]any{"schedule": "@every 24h"})
	w.run(t, a)
	s.awaitConnected(t, a.device)
	id := s.offer(t, spec{
		Name: "proxied", Priority: 5, Action: "launch", Command: []string{"run.sh"}, File: "p.tar.gz", Archive: tarGz(t, script("run.sh", "env | grep -c -e HTTPS_PROXY -e agent:pass")),
	})
	p.drop()
	deployment, _ := s.assign(t, id, a.device)
	d := s.awaitState(t, deployment, "succeeded", "failed")
	require.Equal(t, "0\n", d.Output, "the password of the proxy is none of a command's business: %s", d.story())
	require.GreaterOrEqual(t, p.passed.Load(), int64(4))
}

// proxiesThatSayNo: whatever a proxy answers, the agent says that it was the proxy, and what to do where
// it knows.
func proxiesThatSayNo(t *testing.T, s *server) {
	for name, c := range map[string]struct{ proxy, answer, want string }{
		"wrong password":   {"http://agent:wrong@" + proxyAddress, "", "wants a user name and a password"},
		"bad gateway":      {"http://" + proxyAddress, "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", "answers 502 Bad Gateway"},
		"a page":           {"http://" + proxyAddress, "<html><title>Sign in</title></html>\n", "malformed HTTP"},
		"hangs up":         {"http://" + proxyAddress, "\n", "the server cannot be reached"},
		"a proxy by https": {"https://" + proxyAddress, "x", "write http://HOST:PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			w.etc(t, "hosts", "127.0.0.1 localhost\n")
			w.env = []string{"HTTPS_PROXY=" + c.proxy}
			w.proxy(t, s, c.answer)
			_, r := w.tryJoin(t, s)
			require.NotZero(t, r.code)
			require.Contains(t, r.stderr, c.want)
			require.NotContains(t, r.stderr, "agent:wrong", "a password is in no message")
		})
	}
}

// shifted is muster-agent with a clock that an environment variable shifts, in seconds: the standard
// library's time.Now is replaced for this one build.
var shifted = sync.OnceValues(func() (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(scratch, "shifted")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	const now = "\tsec, nsec, mono := runtimeNow()\n"
	text := strings.Replace(string(source), now, now+"\tsec += shift\n", 1)
	if text == string(source) {
		return "", fmt.Errorf("%s does not look as expected", original)
	}
	text += `
// shift comes from the environment.
var shift = func() (n int64) {
	text, _ := syscall.Getenv("MUSTER_TEST_CLOCK")
	sign := int64(1)
	for _, c := range []byte(text) {
		if c == '-' {
			sign = -1
		} else {
			n = n*10 + int64(c-'0')
		}
	}
	return n * sign
}()
`
	text = strings.Replace(text, "import (\n", "import (\n\t\"syscall\"\n", 1)
	changed, overlay, binary := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "muster-agent")
	if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace":{%q:%q}}`, original, changed), 0o600); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-overlay", overlay, "-o", binary, "./agent")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build an agent with a shifted clock: %w\n%s", err, out)
	}
	return binary, nil
})

// wrongClock: a computer whose battery is empty works and says that its clock is wrong; one whose clock is
// ten years ahead does nothing, and says what to do.
func wrongClock(t *testing.T, s *server) {
	binary, err := shifted()
	require.NoError(t, err)
	at := func(seconds int64, args ...string) result {
		return command(t, []string{fmt.Sprintf("MUSTER_TEST_CLOCK=%d", seconds)}, binary, args...)
	}
	enrollment := s.enrollment(t)
	begin1970 := -time.Now().Unix()
	data := filepath.Join(t.TempDir(), "agent")
	r := at(begin1970, "enroll", "--data", data, enrollment)
	require.NotZero(t, r.code, "the public addresses are on no wire here")

	w := newWire(t)
	w.relayTo(t, s)
	in := func(seconds int64, args ...string) result {
		w.env = []string{fmt.Sprintf("MUSTER_TEST_CLOCK=%d", seconds)}
		return command(t, w.env, find("ip"), append([]string{"netns", "exec", w.agent, binary}, args...)...)
	}
	r = in(begin1970, "enroll", "--data", data, enrollment)
	require.Zero(t, r.code, r.stderr)
	_, rest, _ := strings.Cut(r.stdout, " as device ")
	device, _, _ := strings.Cut(rest, " ")
	deployment, _ := s.assign(t, s.offer(t, spec{Name: "seventies", Priority: 5, Action: "execute", Command: []string{"/bin/echo", "done"}}), device)
	r = in(begin1970, "once", "--data", data)
	require.Zero(t, r.code, r.stderr)
	d := s.deployment(t, deployment)
	require.Equal(t, "succeeded", d.State, d.story())
	r = in(begin1970, "status", "--data", data)
	require.Contains(t, r.stdout, "behind the server's: set the one that is wrong")
	shown := s.muster(t, "device", "show", device)
	require.Contains(t, shown.stdout, "behind the server's", "the administrator sees it")

	const years = 10 * 365 * 24 * 3600
	r = in(years, "once", "--data", data)
	require.NotZero(t, r.code)
	require.Contains(t, r.stderr, "set this computer's clock")
	r = in(years, "status", "--data", data)
	require.Contains(t, r.stdout, "problem: ")
	require.Contains(t, r.stdout, "set this computer's clock")

	r = in(0, "once", "--data", data)
	require.Zero(t, r.code, r.stderr)
	r = in(0, "status", "--data", data)
	require.NotContains(t, r.stdout, "clock")
}
