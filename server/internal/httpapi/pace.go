package httpapi

import (
	"io"
	"net/http"
	"time"
)

// paceEvery is how often a deadline is moved at most: moving it has a price, a stream has many parts.
const paceEvery = time.Second

// pace ends a stream on which nothing moves any more. A reader that has gone without a word, or that
// reads a byte in a while to hold its place, would keep it for the whole time that a stream may take.
// One direction of a request uses it at a time.
type pace struct {
	rc    *http.ResponseController
	limit time.Duration // for the next part
	last  time.Time     // when the stream must be over
	read  time.Time     // when the deadlines were moved
	write time.Time
}

func (p *pace) next(moved *time.Time, set func(time.Time) error) {
	now := time.Now()
	if now.Sub(*moved) < min(paceEvery, p.limit/4) {
		return
	}
	*moved = now
	end := now.Add(p.limit)
	if end.After(p.last) {
		end = p.last
	}
	_ = set(end) // recorders of tests have no deadlines
}

type pacedReader struct {
	io.ReadCloser
	pace *pace
}

func (r *pacedReader) Read(b []byte) (int, error) {
	r.pace.next(&r.pace.read, r.pace.rc.SetReadDeadline)
	return r.ReadCloser.Read(b)
}

type pacedWriter struct {
	http.ResponseWriter
	pace *pace
}

func (w *pacedWriter) Write(b []byte) (int, error) {
	w.pace.next(&w.pace.write, w.pace.rc.SetWriteDeadline)
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
