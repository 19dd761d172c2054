package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// agentStatus is what `muster-agent status --json` says of the listener and the first server.
type agentStatus struct {
	Listener struct {
		Addresses   []string `json:"addresses"`
		Fingerprint string   `json:"certificate_sha256"`
		Problem     string   `json:"problem"`
	} `json:"listener"`
	Servers []struct {
		LastCheckIn time.Time `json:"last_check_in"`
	} `json:"servers"`
}

// standing is the agent's status; empty as long as there is none.
func (a *agent) standing(t *testing.T) agentStatus {
	t.Helper()
	var s agentStatus
	if r := command(t, nil, "muster-agent", "status", "--data", a.data, "--json"); r.code == 0 {
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &s))
	}
	return s
}

// listener waits for the address of the agent's listener.
func (a *agent) listener(t *testing.T) string {
	t.Helper()
	var s agentStatus
	await(t, "the agent's listener", func() (bool, string) {
		s = a.standing(t)
		return len(s.Listener.Addresses) > 0, s.Listener.Problem
	})
	return s.Listener.Addresses[0]
}

// runListening starts the agent with a listener on a free port, or as the settings say.
func (a *agent) runListening(t *testing.T, settings map[string]any) string {
	t.Helper()
	if settings["port"] == nil {
		settings["port"] = 0
	}
	a.configure(t, map[string]any{"listener": settings})
	a.run(t)
	return a.listener(t)
}

// ask asks an agent's listener.
func ask(t *testing.T, address, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + address + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// TestListener: a program on the same computer looks at the agent, wakes it, and reads its log, if it knows the
// device's id.
func TestListener(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := enroll(t, s, s.enrollment(t))
	a.configure(t, map[string]any{"schedule": "@every 24h", "jitter": "0s"})
	address := a.runListening(t, map[string]any{})
	s.awaitConnected(t, a.device)

	code, body := ask(t, address, "/status")
	require.Equal(t, 200, code)
	require.Contains(t, body, `"connected": true`)
	require.NotContains(t, body, a.device)
	require.NotContains(t, body, s.url)

	code, _ = ask(t, address, "/wakeup?deviceid=0198f0aa-1111-7222-8333-444455556666")
	require.Equal(t, 403, code)
	for _, path := range []string{"/wakeup?deviceid=", "/?action=wakeup&deviceid="} {
		before := a.standing(t).Servers[0].LastCheckIn
		code, body = ask(t, address, path+a.device)
		require.Equal(t, 200, code, body)
		await(t, "a check-in", func() (bool, string) {
			at := a.standing(t).Servers[0].LastCheckIn
			return at.After(before), at.String()
		})
	}
	code, body = ask(t, address, "/log?deviceid="+a.device)
	require.Equal(t, 200, code)
	require.Contains(t, body, "[core][INFO] agent starts")
	require.Equal(t, 2, strings.Count(body, "woken by the local listener"), body)
	for _, path := range []string{"/log", "/agent.json", "/fragments/", "/../agent.json"} {
		code, _ = ask(t, address, path)
		require.Contains(t, []int{403, 404}, code, path)
	}

	// A second agent that wants the same port warns, and works.
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	second := enroll(t, s, s.enrollment(t))
	second.configure(t, map[string]any{"listener": map[string]any{"port": json.Number(port)}})
	second.run(t)
	s.awaitConnected(t, second.device)
	await(t, "a warning", func() (bool, string) {
		out := second.output()
		return strings.Contains(out, "[WARN] the local listener does not listen"), out
	})
	await(t, "the warning in the status", func() (bool, string) {
		problem := second.standing(t).Listener.Problem
		return strings.Contains(problem, "in use"), problem
	})
}

// TestListener_fragments: what a device has fetched, others may have, unless the package is private.
func TestListener_fragments(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := enroll(t, s, s.enrollment(t))
	address := a.runListening(t, map[string]any{"keep_fragments": true})
	s.awaitConnected(t, a.device)
	for _, private := range []bool{false, true} {
		name := map[bool]string{false: "shared", true: "private"}[private]
		archive := tarGz(t, script("run.sh", "exit 0"), file{"name", 0o644, []byte(name)})
		sum := sha256.Sum256(archive)
		digest := hex.EncodeToString(sum[:]) // the archive is one fragment
		p := spec{Name: name, Priority: 5, Action: "launch", Command: []string{"run.sh"}, File: "x.tar.gz", Archive: archive}
		p.More = map[string]any{"private": private}
		id := s.offer(t, p)
		deployment, _ := s.assign(t, id, a.device)
		s.awaitState(t, deployment, "succeeded")
		for _, path := range []string{"/fragments/" + digest, "/?action=download&file=/" + id + "/" + id + "-1", "/?action=download?file=/" + id + "/" + id + "-1"} {
			code, body := ask(t, address, path)
			if private {
				require.Equal(t, 404, code, path)
				continue
			}
			require.Equal(t, 200, code, path)
			require.True(t, bytes.Equal(archive, []byte(body)), path)
		}
	}
}

// TestListener_lan: with lan, the loopback addresses stay plain and the certificate of the others is shown by
// the agent's status.
func TestListener_lan(t *testing.T) {
	t.Parallel()
	remote := ownAddress()
	if remote == "" {
		t.Log("this computer has no address but loopback; only that is tried")
	}
	s := startServer(t, "")
	a := enroll(t, s, s.enrollment(t))
	_, port, err := net.SplitHostPort(a.runListening(t, map[string]any{"lan": true}))
	require.NoError(t, err)
	code, _ := ask(t, net.JoinHostPort("127.0.0.1", port), "/log?deviceid="+a.device)
	require.Equal(t, 200, code)
	want := a.standing(t).Listener.Fingerprint
	require.Len(t, want, 64)
	if remote == "" {
		return
	}
	// An administrator takes the certificate from the device, or compares its fingerprint.
	text, err := os.ReadFile(filepath.Join(a.data, "listener.pem"))
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(text))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: pool, ServerName: "muster-agent", MinVersion: tls.VersionTLS13,
		VerifyConnection: func(c tls.ConnectionState) error {
			if sum := sha256.Sum256(c.PeerCertificates[0].Raw); hex.EncodeToString(sum[:]) != want {
				return errors.New("another certificate than the status shows")
			}
			return nil
		},
	}}}
	defer client.CloseIdleConnections()
	for path, want := range map[string]int{"/status": 200, "/log?deviceid=" + a.device: 403, "/wakeup?deviceid=x": 403, "/wakeup?deviceid=" + a.device: 200} {
		resp, err := client.Get("https://" + net.JoinHostPort(remote, port) + path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, resp.StatusCode, path)
	}
}

// ownAddress is an IPv4 address of this computer that is not loopback; empty without one.
func ownAddress() string {
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	return ""
}

// knock asks an agent's listener so many times at once. What is refused or cut is well.
func knock(t *testing.T, address string, times int) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[int]int{}
	client := &http.Client{Timeout: patience}
	for range times {
		wg.Go(func() {
			code := 0
			if resp, err := client.Get("http://" + address + "/status"); err == nil {
				code = resp.StatusCode
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			mu.Lock()
			got[code]++
			mu.Unlock()
		})
	}
	wg.Wait()
	for code := range got {
		require.Contains(t, []int{0, 200, 429}, code)
	}
	t.Logf("%d requests at once, by answer (0: cut): %v", times, got)
}
