package inventory

import (
	"fmt"
	"maps"
	"slices"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/event"
	"github.com/muster/muster/server/internal/text"
)

// recovered is by how many hundredths more must be free before a file system that ran low counts as
// recovered: one that stays about the limit is not told of again and again.
const recovered = 2

// mostWatched bounds the file systems of one device that are watched; the first by their keys.
const mostWatched = 500

// watched is what is to be remembered and told of file systems.
type watched struct {
	begin, end []string
	events     []event.Event
}

// watch finds out which local, writable file systems run low, given those that did. One that is not there
// any more is forgotten without a word.
func watch(low map[string]bool, values []any, percent int) watched {
	var w watched
	gone := maps.Clone(low)
	for _, v := range values[:min(len(values), mostWatched)] {
		f, ok := v.(*protocol.Filesystem)
		if !ok || f.Bytes <= 0 || f.ReadOnly || f.Remote {
			continue
		}
		subject := text.Clean(f.Key, maxName)
		delete(gone, subject)
		free := int(float64(f.FreeBytes) / float64(f.Bytes) * 100)
		shown := fmt.Sprintf("%d %% free", free)
		switch {
		case !low[subject] && free < percent:
			w.begin = append(w.begin, subject)
			w.events = append(w.events, event.Event{
				Kind: event.DiskLow, Subject: subject, Present: shown,
				Message: fmt.Sprintf("%s has %s of %s free, less than %d %%.", subject, size(f.FreeBytes), size(f.Bytes), percent),
			})
		case low[subject] && free >= percent+recovered:
			w.end = append(w.end, subject)
			w.events = append(w.events, event.Event{
				Kind: event.DiskRecovered, Subject: subject, Present: shown,
				Message: fmt.Sprintf("%s has %s of %s free again.", subject, size(f.FreeBytes), size(f.Bytes)),
			})
		}
	}
	w.end = append(w.end, slices.Sorted(maps.Keys(gone))...)
	return w
}
