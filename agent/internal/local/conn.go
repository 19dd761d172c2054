package local

import (
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
)

// Bounds of open connections: of this computer's own users in sum, of the network in sum and for one address.
// What is beyond is closed at once.
const (
	maxLocalConns  = 32
	maxLANConns    = 32
	maxRemoteConns = 8
)

// gate hands out the connections of a listener that are within the bounds. Those that did not come over
// loopback speak TLS.
type gate struct {
	net.Listener
	counts *counts
	inside func(netip.Addr) bool // whether an address is this computer's own, for itself
	tls    *tls.Config           // nil when the listener is on loopback only
}

// counts are the open connections, over all gates of a Listener.
type counts struct {
	mu      sync.Mutex
	local   int
	lan     int
	remotes map[netip.Prefix]int // of the network
}

// conn is a counted connection.
type conn struct {
	net.Conn
	release func()
}

// Close closes the connection and takes it out of the count.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}

// CloseWrite says that nothing more comes. net/http does so before it closes a connection of which it has not
// read everything, else the answer could be lost.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Accept waits for a connection that is within the bounds.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		// A gateway may lead strangers to a loopback address, so both ends count.
		lan := !g.inside(addrOf(c.LocalAddr())) || !g.inside(addrOf(c.RemoteAddr()))
		if lan && g.tls == nil {
			_ = c.Close()
			continue
		}
		release := g.counts.take(addrOf(c.RemoteAddr()), lan)
		if release == nil {
			_ = c.Close()
			continue
		}
		counted := &conn{Conn: c, release: sync.OnceFunc(release)}
		if lan {
			return tls.Server(counted, g.tls), nil
		}
		return counted, nil
	}
}

// take counts a connection; nil means that there is no room.
func (c *counts) take(remote netip.Addr, lan bool) (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !lan {
		if c.local >= maxLocalConns {
			return nil
		}
		c.local++
		return func() {
			c.mu.Lock()
			c.local--
			c.mu.Unlock()
		}
	}
	key := prefixOf(remote)
	if c.lan >= maxLANConns || c.remotes[key] >= maxRemoteConns {
		return nil
	}
	if c.remotes == nil {
		c.remotes = map[netip.Prefix]int{}
	}
	c.lan++
	c.remotes[key]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lan--
		if c.remotes[key]--; c.remotes[key] == 0 {
			delete(c.remotes, key)
		}
	}
}

// addrOf is the address of a TCP connection's end, without port.
func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
