package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// figure is one measured value.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
}

// result is what one scenario measured. Errors counts by kind what was not answered as wished.
type result struct {
	Scenario string         `json:"scenario"`
	Figures  []figure       `json:"figures"`
	Errors   map[string]int `json:"errors,omitempty"`
}

func (r *result) add(name string, value float64, unit string) {
	r.Figures = append(r.Figures, figure{name, value, unit})
}

// figureOf is a figure that was added before; 0 when there is none.
func (r *result) figureOf(name string) float64 {
	for _, f := range r.Figures {
		if f.Name == name {
			return f.Value
		}
	}
	return 0
}

// show prints all results.
func show(o options, all []result) {
	if o.json {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		_ = e.Encode(all) //nolint:errchkjson // nobody is left to tell when standard output is gone
		return
	}
	for _, r := range all {
		fmt.Println(r.Scenario)
		for _, f := range r.Figures {
			fmt.Printf("  %-40s %10s %s\n", f.Name, number(f.Value), f.Unit)
		}
		for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
			fmt.Printf("  %-40s %10d\n", "not served: "+kind, r.Errors[kind])
		}
	}
}

// number has about three digits that count.
func number(v float64) string {
	digits := 0
	switch {
	case v == float64(int64(v)) || v >= 1000:
	case v >= 100:
		digits = 1
	case v >= 1:
		digits = 2
	default:
		digits = 4
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// tally gathers latencies and failures of requests that run at the same time.
type tally struct {
	mu     sync.Mutex
	took   []time.Duration
	errors map[string]int
}

func newTally() *tally { return &tally{errors: map[string]int{}} }

// note counts one request.
func (t *tally) note(took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.errors[kindOf(err)]++
		return
	}
	t.took = append(t.took, took)
}

// served is how many were answered as wished.
func (t *tally) served() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.took)
}

func (t *tally) failed() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.errors)
}

// into adds the latencies to a result, in milliseconds.
func (t *tally) into(r *result, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.took) == 0 {
		return
	}
	slices.Sort(t.took)
	for _, q := range []struct {
		name string
		of   float64
	}{{"p50", 0.50}, {"p99", 0.99}, {"max", 1}} {
		n := min(int(q.of*float64(len(t.took))), len(t.took)-1)
		r.add(what+" "+q.name, float64(t.took[n].Microseconds())/1000, "ms")
	}
}

// statusError is an answer that is no success.
type statusError struct {
	status     int
	retryAfter time.Duration
	text       string
}

// Error names the status and what the server said.
func (e *statusError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.text) }

// kindOf is an error in one or two words, so that like ones can be counted.
func kindOf(err error) string {
	var status *statusError
	var timeout net.Error
	switch {
	case errors.As(err, &status):
		return "status " + strconv.Itoa(status.status)
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed by the server"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no port left here"
	}
	text := err.Error()
	if n := strings.LastIndex(text, ": "); n >= 0 {
		text = text[n+2:]
	}
	return text
}
