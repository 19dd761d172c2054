package local

import (
	"bytes"
	"sync"
)

// Bounds of the lines that a Ring keeps.
const (
	ringBytes = 32 << 10
	ringLines = 200
)

// Ring keeps the last lines that were written to it, for the log action. It is in memory only: after a
// restart it is empty. Its zero value is ready, and it may be written to from anywhere.
type Ring struct {
	mu   sync.Mutex
	data []byte
}

// Write keeps p and drops what is too old. It never fails.
func (r *Ring) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(p)
	if len(p) > ringBytes {
		p = p[len(p)-ringBytes:]
	}
	if len(r.data)+len(p) > 2*ringBytes { // seldom, so that a line does not move all others
		r.data = append(r.data[:0], tail(r.data, ringBytes)...)
	}
	r.data = append(r.data, p...)
	return n, nil
}

// Tail is a copy of the last lines, at most 200 of them and 32 KiB.
func (r *Ring) Tail() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(tail(r.data, ringBytes))
}

// tail is the end of text that begins with a line and is within the bounds.
func tail(text []byte, limit int) []byte {
	if len(text) > limit {
		text = text[len(text)-limit:]
		if n := bytes.IndexByte(text, '\n'); n >= 0 {
			text = text[n+1:]
		}
	}
	lines := 0
	for n := len(text) - 1; n >= 0; n-- {
		if text[n] != '\n' || n == len(text)-1 {
			continue
		}
		if lines++; lines == ringLines {
			return text[n+1:]
		}
	}
	return text
}
