package resident

import (
	"time"

	"github.com/muster/muster/packages/protocol"
)

// usage is what the system has counted of this process and of the children it has waited for.
type usage struct {
	cpu      time.Duration // user and system, children too
	rss      int64         // bytes, now
	rssHigh  int64         // bytes, at most
	taskHigh int64         // bytes, of the child that had most
}

// footprint is what the agent has cost since its start. A system that does not count something leaves it 0.
func (r *Resident) footprint() protocol.Footprint {
	u := readUsage()
	return protocol.Footprint{
		Since: r.since, CPUMS: u.cpu.Milliseconds(), RSSBytes: u.rss, RSSHighBytes: u.rssHigh, TaskHighBytes: u.taskHigh,
	}
}
