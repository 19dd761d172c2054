package spool

import "github.com/muster/muster/packages/protocol"

// rank says how long a report stays in a full spool: those of a lower rank are dropped first.
type rank uint8

const (
	rankLog  rank = iota // log lines
	rankStep             // how something stands
	rankEnd              // how something ended: never dropped
)

func rankOf(r *protocol.Report) rank {
	switch {
	case r.Log != nil:
		return rankLog
	case r.Deployment != nil && r.Deployment.State.Final():
		return rankEnd
	case r.Task != nil && (r.Task.State == "" || r.Task.State.Final()): // without a state it was not begun, nor will be
		return rankEnd
	}
	return rankStep
}

// linesOf counts the log lines that are lost with a report.
func linesOf(r *protocol.Report) int32 {
	if r.Log == nil {
		return 0
	}
	return int32(min(int64(len(r.Log.Lines))+max(r.Log.Dropped, 0), 1<<30))
}

// fill is how much a spool holds.
type fill struct {
	reports, logs   int
	bytes, logBytes int64
}

// add counts a report, or with -1 takes it off.
func (f *fill) add(r rank, length, by int) {
	f.reports += by
	f.bytes += int64(by * length)
	if r == rankLog {
		f.logs += by
		f.logBytes += int64(by * length)
	}
}

// logShare is the part of a spool that log lines may have, whatever else is in it.
const logShare = 4

// over reports whether one of the rank has to go.
func (l Limits) over(f fill, r rank) bool {
	if r == rankLog && (f.logs > max(l.Reports/logShare, 1) || f.logBytes > l.Bytes/logShare) {
		return true
	}
	return r != rankEnd && (f.reports > l.Reports || f.bytes > l.Bytes)
}

// makeRoom drops what has to go so that fresh fits, and returns what of fresh may be kept. Of a rank, what is in
// the spool is older and goes first.
func (s *Spool) makeRoom(fresh []record) ([]record, error) {
	sum := s.held
	for _, r := range fresh {
		sum.add(r.rank, len(r.data), 1)
	}
	if !s.limits.over(sum, rankLog) {
		return fresh, nil
	}
	before := s.loss
	var dropped []*entry
	for _, rank := range []rank{rankLog, rankStep} {
		for _, e := range s.order {
			if !s.limits.over(sum, rank) {
				break
			}
			if !e.gone && e.rank == rank {
				dropped = append(dropped, e)
				sum.add(rank, e.length, -1)
				s.loss.Dropped, s.loss.Lines = s.loss.Dropped+1, s.loss.Lines+int64(e.lines)
			}
		}
		kept := fresh[:0]
		for _, r := range fresh {
			if r.rank == rank && s.limits.over(sum, rank) {
				sum.add(rank, len(r.data), -1)
				s.loss.Dropped, s.loss.Lines = s.loss.Dropped+1, s.loss.Lines+int64(r.lines)
				continue
			}
			kept = append(kept, r)
		}
		fresh = kept
	}
	if s.loss == before {
		return fresh, nil // full of ends
	}
	if err := s.noteLoss(); err != nil {
		s.loss = before // nothing was dropped
		return nil, err
	}
	return fresh, s.settle(dropped)
}

// settle forgets entries: it notes them beside their segments, removes segments that are not needed any
// more and rewrites those that hold little else than what was forgotten.
func (s *Spool) settle(entries []*entry) error {
	if len(entries) == 0 {
		return nil
	}
	touched := make(map[*segment][]string)
	for _, e := range entries {
		s.forget(e)
		touched[e.segment] = append(touched[e.segment], e.id)
	}
	s.trimOrder()
	var first error
	keep := s.segments[:0]
	for i, seg := range s.segments {
		active := i == len(s.segments)-1
		if ids := touched[seg]; ids != nil {
			gone, err := s.settleSegment(seg, ids, active)
			if err != nil && first == nil {
				first = err
			}
			if gone {
				continue
			}
		}
		keep = append(keep, seg)
	}
	s.segments = keep
	return first
}

// settleSegment reports whether the segment has gone. The one that is written to stays, so that a quiet
// device does not make and remove a file for every report, but starts again from its beginning when it is
// long and nothing in it is needed.
func (s *Spool) settleSegment(seg *segment, ids []string, active bool) (bool, error) {
	if seg.live == 0 && (!active || seg.size >= s.limits.SegmentBytes) {
		return true, seg.remove()
	}
	if err := seg.note(ids); err != nil {
		return false, err
	}
	if !active && seg.liveBytes < seg.size/4 {
		return false, seg.compact(s.entriesOf(seg))
	}
	return false, nil
}

func (s *Spool) entriesOf(seg *segment) []*entry {
	entries := make([]*entry, 0, seg.live)
	for _, e := range s.order {
		if e.segment == seg && !e.gone {
			entries = append(entries, e)
		}
	}
	return entries
}

// trimOrder forgets entries that have gone: those in front at once, the others when they are many.
func (s *Spool) trimOrder() {
	for len(s.order) > 0 && s.order[0].gone {
		s.order[0] = nil
		s.order = s.order[1:]
	}
	if len(s.order) < 2*len(s.byID)+64 {
		return
	}
	kept := make([]*entry, 0, len(s.byID))
	for _, e := range s.order {
		if !e.gone {
			kept = append(kept, e)
		}
	}
	s.order = kept
}
