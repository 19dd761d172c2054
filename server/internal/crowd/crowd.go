// Package crowd bounds the connections to a listener, in all and from one network.
//
// Each connection takes a file descriptor, and a server without descriptors can open neither files nor its
// database. Connections over the limit are closed at once; agents come back after a random pause. No network
// may hold more than three quarters, so that a single one cannot keep all others out, while a whole site
// behind one address still can connect. Proxies that are trusted speak for many and are not counted by
// themselves. The package keeps nothing that a crash could lose; cli puts it below TLS.
package crowd

import (
	"net"
	"sync"

	"github.com/muster/muster/server/internal/throttle"
)

// Listener bounds what Listener accepts. Make it with New.
type Listener struct {
	net.Listener
	most, each int
	trusted    []*net.IPNet

	mu      sync.Mutex
	all     int
	network map[string]int
}

// New bounds l to most connections. Addresses in trusted are bounded by that alone.
func New(l net.Listener, most int, trusted []*net.IPNet) *Listener {
	return &Listener{Listener: l, most: most, each: most * 3 / 4, trusted: trusted, network: map[string]int{}}
}

// Accept waits for the next connection that is within the limits.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if leave := l.enter(c.RemoteAddr()); leave != nil {
			return &conn{Conn: c, leave: leave}, nil
		}
		_ = c.Close() // says enough
	}
}

// enter counts a connection; nil when it is one too many.
func (l *Listener) enter(from net.Addr) (leave func()) {
	network := ""
	if a, ok := from.(*net.TCPAddr); ok && !l.trusts(a.IP) {
		network = throttle.Network(a.IP.String())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.most || network != "" && l.network[network] >= l.each {
		return nil
	}
	l.all++
	if network != "" {
		l.network[network]++
	}
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all--
		if network == "" {
			return
		}
		if l.network[network]--; l.network[network] == 0 {
			delete(l.network, network)
		}
	})
}

func (l *Listener) trusts(ip net.IP) bool {
	for _, n := range l.trusted {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// conn leaves when it is closed.
type conn struct {
	net.Conn
	leave func()
}

// Close ends the connection.
func (c *conn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// unlimited is the limit where the system has none.
const unlimited = 200_000
