package device

import (
	"context"
	"encoding/json"
	"fmt"
)

// Filter narrows List; empty fields do not. After holds the hostname and id of the last device seen.
type Filter struct {
	Search
	Group     string // id; as membership is kept, which is seconds behind for saved searches
	Connected *bool
	// TrustBelow keeps devices, unless they are revoked or removed, that have not confirmed this trust document.
	TrustBelow int
	After      []string
	Limit      int
}

// scan is how many rows are read at a time while looking for connected devices.
const scan = 500

// List returns devices by host name. Who is connected is known to memory only, so that filter reads on
// until it has found enough.
//
//fuzz:none the server wrote the row itself, after CleanFacts
func (s *Service) List(ctx context.Context, f Filter) ([]Device, error) {
	q := filter{search: f.Search, group: f.Group, below: f.TrustBelow, after: f.After, limit: f.Limit}
	if f.TrustBelow > 0 || f.sees() {
		if err := s.Flush(ctx); err != nil { // what devices told a moment ago
			return nil, err
		}
	}
	var connected map[string]bool
	if f.Connected != nil {
		q.limit = scan
		connected = map[string]bool{}
		for _, id := range s.live.ConnectedIDs() {
			connected[id] = true
		}
	}
	out := []Device{}
	for {
		rows, err := s.store.list(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if f.Connected != nil && connected[r.ID] != *f.Connected {
				continue
			}
			d := r.device()
			if err := json.Unmarshal([]byte(r.Facts), &d.Facts); err != nil {
				return nil, fmt.Errorf("read facts of device %s: %w", r.ID, err)
			}
			s.overlay(&d)
			if out = append(out, d); len(out) == f.Limit {
				return out, nil
			}
		}
		if len(rows) < q.limit {
			return out, nil
		}
		last := rows[len(rows)-1]
		q.after = []string{last.Hostname, last.ID}
	}
}

// TrustVersions counts the devices that are neither revoked nor removed by the version of the trust document that they
// confirmed last.
func (s *Service) TrustVersions(ctx context.Context) (map[int]int, error) {
	if err := s.Flush(ctx); err != nil {
		return nil, err
	}
	return s.store.trustVersions(ctx)
}

// Tokens lists enrollment tokens, the newest first; before is the id of the last one seen.
func (s *Service) Tokens(ctx context.Context, before string, limit int) ([]Token, error) {
	return s.store.tokens(ctx, before, limit)
}
