package api

import (
	"encoding/base64"
	"encoding/json"

	"github.com/muster/muster/packages/fault"
)

// DefaultLimit is how many items a page holds when the request does not say.
const DefaultLimit = 50

// PageParams are the query parameters of every list. Lists are paged by key: the cursor holds the sort
// key of the last item seen, so that rows which come and go meanwhile neither repeat nor hide others.
type PageParams struct {
	Cursor string `query:"cursor" maxLength:"2048" doc:"next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"most items to return"`
}

// Page is one page of a list; Next is empty on the last one.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"cursor of the next page"`
}

// Fetch is how many rows to ask the database for: one more than the page holds tells whether another
// page follows.
func (p PageParams) Fetch() int { return p.size() + 1 }

func (p PageParams) size() int {
	if p.Limit <= 0 {
		return DefaultLimit
	}
	return p.Limit
}

// NewPage makes the page from up to p.Fetch() items. key gives an item's sort key, the parts that
// DecodeCursor will return.
func NewPage[T any](items []T, p PageParams, key func(T) []string) Page[T] {
	if items == nil {
		items = []T{}
	}
	n := p.size()
	if len(items) <= n {
		return Page[T]{Items: items}
	}
	return Page[T]{Items: items[:n], Next: EncodeCursor(key(items[n-1])...)}
}

// EncodeCursor packs the parts of a sort key into one opaque word.
func EncodeCursor(parts ...string) string {
	b, err := json.Marshal(parts)
	if err != nil { // strings always marshal
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// DecodeCursor unpacks a cursor of n parts; nil for the empty cursor, the first page.
func DecodeCursor(cursor string, n int) ([]string, error) {
	if cursor == "" {
		return nil, nil
	}
	bad := fault.Field("query.cursor", "the cursor is not one that this list gave out; start without a cursor")
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, bad
	}
	var parts []string
	if err := json.Unmarshal(b, &parts); err != nil || len(parts) != n {
		return nil, bad
	}
	return parts, nil
}
