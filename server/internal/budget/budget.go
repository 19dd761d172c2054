// Package budget bounds the memory that messages take while they arrive, all together: each is bounded by
// itself, but thousands of senders may send large ones at the same time, and slowly. It keeps nothing that a
// crash could lose. agentapi and hub read through it.
package budget

import (
	"io"
	"sync/atomic"

	"github.com/muster/muster/packages/fault"
)

// free is what each message may hold without being counted: ordinary ones are smaller.
const free = 4 << 10

// Budget is shared by many messages.
type Budget struct{ left atomic.Int64 }

// New makes a budget of bytes.
func New(bytes int64) *Budget {
	b := &Budget{}
	b.left.Store(bytes)
	return b
}

// Reader counts what is read from r until release is called. When nothing is left, reading fails with
// Unavailable: the sender comes again later.
func (b *Budget) Reader(r io.Reader) (counted io.Reader, release func()) {
	c := &reader{of: b, r: r}
	return c, c.release
}

type reader struct {
	of    *Budget
	r     io.Reader
	read  int64
	taken int64
}

// Read implements io.Reader.
func (c *reader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read += int64(n)
	if more := c.read - free - c.taken; more > 0 {
		if c.of.left.Add(-more) < 0 {
			c.of.left.Add(more)
			return 0, fault.New(fault.Unavailable, "the server holds too many large messages; send it again later")
		}
		c.taken += more
	}
	return n, err
}

func (c *reader) release() {
	c.of.left.Add(c.taken)
	c.taken = 0
}
