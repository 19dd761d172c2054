// Package spool keeps reports on the disk until the server has committed and acknowledged them.
package spool

import (
	"context"
	"errors"

	"github.com/muster/muster/packages/protocol"
)

// Limits bound a spool; zero values mean the defaults.
type Limits struct {
	Reports      int   // reports held; 10 000
	Bytes        int64 // bytes held; 64 MiB
	SegmentBytes int64 // length of one file; 1 MiB
}

// Spool is an open spool.
type Spool struct{}

// Open opens or makes the spool in dir.
func Open(dir string, limits Limits) (*Spool, error) { return nil, errors.New("being written") }

// Add keeps reports and returns when they are on the disk; ids that are held already are left out.
func (s *Spool) Add(ctx context.Context, reports ...protocol.Report) error { return nil }

// Next returns the oldest reports, at most max of them and about maxBytes of JSON, but at least one if there is one.
func (s *Spool) Next(max, maxBytes int) []protocol.Report { return nil }

// Ack forgets reports; unknown ids are ignored.
func (s *Spool) Ack(ids ...string) error { return nil }

// Len is the number of reports held.
func (s *Spool) Len() int { return 0 }

// Wait returns a channel that gets a value after reports were added; for one consumer.
func (s *Spool) Wait() <-chan struct{} { return nil }

// Close closes the files.
func (s *Spool) Close() error { return nil }
