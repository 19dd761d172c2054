package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

// waysToConnect are about the connection itself.
func waysToConnect() map[string]way {
	// deaf wants the device not to say a word to the server that stands there now.
	deaf := func(t *testing.T, c *captive, conf *tls.Config) {
		other := startEnemyServer(t, conf)
		c.enemy.serveTo(other)
		task := c.task(t, c.honest)
		other.attack(nil, task)
		c.relay.lead(other.address)
		require.NotZero(t, c.once(t).code)
		other.mu.Lock()
		defer other.mu.Unlock()
		require.Zero(t, other.asked, "the device's credential was sent")
	}
	return map[string]way{
		"a certificate of another CA": func(t *testing.T, c *captive) {
			key, ca := selfSigned(t, true)
			deaf(t, c, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{ca}, PrivateKey: key}}, MinVersion: tls.VersionTLS13})
		},
		"a certificate of its own": func(t *testing.T, c *captive) {
			key, leaf := selfSigned(t, false)
			chain := [][]byte{leaf, c.s.issue(t).Certificate[1]} // with the right CA behind it
			deaf(t, c, &tls.Config{Certificates: []tls.Certificate{{Certificate: chain, PrivateKey: key}}, MinVersion: tls.VersionTLS13})
		},
		"TLS 1.2": func(t *testing.T, c *captive) {
			deaf(t, c, &tls.Config{Certificates: []tls.Certificate{c.s.issue(t)}, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12})
		},
		"no TLS": func(t *testing.T, c *captive) {
			asked := &atomic.Int64{}
			c.relay.lead(plainServer(t, asked, func(w http.ResponseWriter) {
				answer(w, map[string]any{"state": "active", "tasks": []any{c.task(t, c.honest)}})
			}))
			require.NotZero(t, c.once(t).code)
			require.Zero(t, asked.Load())
		},
		"redirects": func(t *testing.T, c *captive) {
			asked := &atomic.Int64{}
			elsewhere := plainServer(t, asked, func(w http.ResponseWriter) { answer(w, map[string]any{"tasks": []any{}}) })
			other := startEnemyServer(t, &tls.Config{Certificates: []tls.Certificate{c.s.issue(t)}, MinVersion: tls.VersionTLS13})
			for _, to := range []string{"http://" + elsewhere, "https://" + other.address, "//" + other.address} {
				for _, status := range []int{301, 302, 303, 307, 308} {
					for _, where := range []string{protocol.PathCheckIn, protocol.PathInstruction, protocol.PathFragment, protocol.PathReports} {
						if where != protocol.PathCheckIn && status != 307 {
							continue
						}
						c.enemy.attack(func(w http.ResponseWriter, r *http.Request) bool {
							if !strings.HasPrefix(r.URL.Path, where) {
								return false
							}
							http.Redirect(w, r, to+r.URL.Path, status)
							return true
						}, c.task(t, c.honest))
						c.once(t)
					}
				}
			}
			require.Zero(t, asked.Load(), "it was followed to another host without TLS")
			other.mu.Lock()
			defer other.mu.Unlock()
			require.Zero(t, other.asked, "it was followed to another host")
		},
		"commands over the WebSocket": commandsOverTheSocket,
	}
}

// serveTo gives another server what this one serves.
func (e *enemyServer) serveTo(other *enemyServer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for digest, data := range e.served {
		other.serveAs(digest, data)
	}
}

func plainServer(t *testing.T, asked *atomic.Int64, do func(w http.ResponseWriter)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		do(w)
	})}
	go func() { _ = h.Serve(l) }()
	t.Cleanup(func() { _ = h.Close() })
	return l.Addr().String()
}

func selfSigned(t *testing.T, ca bool) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return key, der
}

// commandsOverTheSocket: a resident agent holds a WebSocket to the enemy, who says on it whatever may be
// taken for a command.
func commandsOverTheSocket(t *testing.T, c *captive) {
	evil := c.task(t, signedWith(t, c.wish(t), c.oldServer))
	words := [][]byte{}
	for _, m := range []any{
		map[string]any{"type": "run", "command": []string{"touch", c.evil}},
		map[string]any{"type": "deploy", "deploy": evil.Deploy},
		map[string]any{"type": "tasks", "tasks": []any{evil}},
		map[string]any{"type": "wakeup", "tasks": []any{evil}, "command": []string{"touch", c.evil}, "state": "active", "trust": []any{}},
		map[string]any{"type": "ack", "ack": map[string]any{"ids": []string{"x"}, "refused": []any{map[string]any{}}}, "tasks": []any{evil}},
		map[string]any{"type": "ack"}, map[string]any{"type": "reports", "reports": []any{map[string]any{}}}, map[string]any{"type": 1},
		[]any{}, nil, "wakeup",
	} {
		b, err := json.Marshal(m)
		require.NoError(t, err)
		words = append(words, b)
	}
	words = append(words, []byte("{"), []byte(strings.Repeat("[", 60<<10)), nil)
	connected, heard := &atomic.Int64{}, make(chan struct{}, 16)
	upgrader := websocket.Upgrader{Subprotocols: []string{protocol.SocketProtocol}}
	c.enemy.attack(func(w http.ResponseWriter, r *http.Request) bool {
		if !websocket.IsWebSocketUpgrade(r) {
			return false
		}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return true
		}
		defer conn.Close()
		connected.Add(1)
		for _, word := range words {
			_ = conn.WriteMessage(websocket.TextMessage, word)
			_ = conn.WriteMessage(websocket.BinaryMessage, word)
		}
		if connected.Load() == 1 { // the first time, more than may be said at once
			_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"run","x":"`+strings.Repeat("x", 2*protocol.MaxSocketDown)+`"}`))
		}
		select {
		case heard <- struct{}{}:
		default:
		}
		acks := make(chan protocol.Ack)
		go func() {
			defer close(acks)
			for {
				var m protocol.SocketMessage
				if conn.ReadJSON(&m) != nil {
					return
				}
				if m.Type == protocol.SocketReports {
					acks <- c.enemy.take(m.Reports)
				}
			}
		}()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case ack, open := <-acks:
				if !open {
					return true
				}
				_ = conn.WriteJSON(protocol.SocketMessage{Type: protocol.SocketAck, Ack: &ack})
			case <-tick.C:
				_ = conn.WriteJSON(protocol.SocketMessage{Type: protocol.SocketWakeup}) // its end is the reader's to see
			}
		}
	})
	c.agent.configure(t, map[string]any{"schedule": "@every 10s", "jitter": "0s"})
	c.agent.run(t)
	await(t, "two connections, the first of which ends with a message over its limit", func() (bool, string) {
		return connected.Load() >= 2, c.agent.output()
	})
	for range 2 {
		<-heard
	}
	// Still alive: it carries out an honest package meanwhile.
	before := c.times(t)
	task := c.task(t, c.honest)
	c.enemy.mu.Lock()
	c.enemy.tasks = []any{task}
	c.enemy.mu.Unlock()
	await(t, "the honest package", func() (bool, string) { return c.times(t) == before+1, c.agent.output() })
	require.True(t, c.agent.running())
	await(t, "its report", func() (bool, string) {
		told := c.enemy.told(task.ID)
		return len(told) > 0 && told[len(told)-1].Deployment.State.Final(), c.agent.output()
	})
	c.agent.stop(t)
}
