package e2e_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// wireRelay passes connections of the world on to the server on this computer, and cuts or swallows them at
// exact points. It sees only TLS.
type wireRelay struct {
	target string
	down   atomic.Int64 // bytes handed to the agent's side
	up     atomic.Int64
	opened atomic.Int64 // connections
	cuts   atomic.Int64

	mu      sync.Mutex
	pairs   map[*pair]bool
	downAt  []int64 // totals of down at which every connection is cut
	upAt    []int64
	deaf    bool // what comes from the server is swallowed
	refused bool // new connections are cut at once
}

type pair struct {
	near, far *net.TCPConn
	once      sync.Once
}

// reset ends both sides without a goodbye.
func (p *pair) reset() {
	p.once.Do(func() {
		for _, c := range []*net.TCPConn{p.near, p.far} {
			_ = c.SetLinger(0)
			_ = c.Close()
		}
	})
}

// relayTo starts a relay for the server at addresses of the world; all of them when none is named.
func (w *wire) relayTo(t *testing.T, s *server, addresses ...string) *wireRelay {
	t.Helper()
	if addresses == nil {
		addresses = []string{net.JoinHostPort(wireWorld, wirePort), net.JoinHostPort(wireSix, wirePort)}
	}
	r := &wireRelay{target: "127.0.0.1:" + s.port, pairs: map[*pair]bool{}}
	for _, address := range addresses {
		l := w.listen(t, address)
		go r.serve(l)
	}
	t.Cleanup(r.cut)
	return r
}

func (r *wireRelay) serve(l net.Listener) {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", r.target)
		if err != nil {
			near.Close()
			continue
		}
		p := &pair{near: near.(*net.TCPConn), far: far.(*net.TCPConn)} //nolint:forcetypeassert // of TCP
		r.opened.Add(1)
		r.mu.Lock()
		r.pairs[p] = true
		refused := r.refused
		r.mu.Unlock()
		if refused {
			p.reset()
		}
		go r.pass(p, p.far, p.near, &r.down, &r.downAt)
		go r.pass(p, p.near, p.far, &r.up, &r.upAt)
	}
}

// pass hands on what comes, up to the next point to cut at.
func (r *wireRelay) pass(p *pair, from, to *net.TCPConn, total *atomic.Int64, points *[]int64) {
	defer func() {
		p.reset()
		r.mu.Lock()
		delete(r.pairs, p)
		r.mu.Unlock()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		cut, swallow := false, r.deaf && from == p.far
		if !swallow {
			if at := total.Load() + int64(n); len(*points) > 0 && at >= (*points)[0] {
				n -= int(at - (*points)[0])
				*points, cut = (*points)[1:], true
			}
			total.Add(int64(n))
		}
		r.mu.Unlock()
		if swallow {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		if cut {
			r.cut()
			return
		}
	}
}

// cut resets every connection.
func (r *wireRelay) cut() {
	r.mu.Lock()
	pairs := make([]*pair, 0, len(r.pairs))
	for p := range r.pairs {
		pairs = append(pairs, p)
	}
	r.mu.Unlock()
	r.cuts.Add(1)
	for _, p := range pairs {
		p.reset()
	}
}

// cutAfter cuts when so many more bytes have gone to the agent, and again after as many, times times.
func (r *wireRelay) cutAfter(bytes int64, times int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.downAt = nil
	for n := range times {
		r.downAt = append(r.downAt, r.down.Load()+bytes*int64(n+1))
	}
}

// cutUpAfter is cutAfter for what goes to the server.
func (r *wireRelay) cutUpAfter(bytes int64, times int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.upAt = nil
	for n := range times {
		r.upAt = append(r.upAt, r.up.Load()+bytes*int64(n+1))
	}
}

// swallow makes the relay deaf for what the server says, or ends that.
func (r *wireRelay) swallow(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deaf = on
}

// refuse cuts every connection, also new ones, or ends that.
func (r *wireRelay) refuse(on bool) {
	r.mu.Lock()
	r.refused = on
	r.mu.Unlock()
	if on {
		r.cut()
	}
}

// left is how many points to cut at have not been reached.
func (r *wireRelay) left(t *testing.T) int {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.NotNil(t, r.pairs)
	return len(r.downAt) + len(r.upAt)
}
