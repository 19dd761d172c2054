package spool

// makeRoom drops what has to go so that fresh fits, and returns what of fresh may be kept. What is in the
// spool is older and goes first.
func (s *Spool) makeRoom(fresh []record) ([]record, error) {
	count, size := len(s.byID)+len(fresh), s.bytes
	for _, r := range fresh {
		size += int64(len(r.data))
	}
	full := func() bool { return count > s.limits.Reports || size > s.limits.Bytes }
	if !full() {
		return fresh, nil
	}
	var dropped []*entry
	for _, e := range s.order {
		if !full() {
			break
		}
		if !e.gone && !e.final {
			dropped = append(dropped, e)
			count, size = count-1, size-int64(e.length)
		}
	}
	before := s.loss
	kept := fresh[:0]
	for _, r := range fresh {
		if full() && !r.final {
			count, size = count-1, size-int64(len(r.data))
			s.loss.Dropped++
			continue
		}
		kept = append(kept, r)
	}
	s.loss.Dropped += int64(len(dropped))
	if err := s.noteLoss(); err != nil {
		s.loss = before // nothing was dropped
		return nil, err
	}
	return kept, s.settle(dropped)
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
