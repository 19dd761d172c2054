// Package spool keeps reports on the disk until the server has committed and acknowledged them.
//
// When Add has returned, its reports survive a crash of the process or the machine. Each is handed out
// again and again until Ack names it, so a report reaches the server at least once; the server keeps one
// row per id. An Ack that a crash swallows only means that a report is sent once more.
//
// Reports are lines of segment files (the journal's form of line). What was acknowledged is noted beside
// a segment in a file of its own, and a segment goes when nothing in it is needed any more, so neither
// adding nor acknowledging rewrites what others wait for. In memory there is one small entry per report.
//
// A spool is bounded. When it is full the oldest log lines are dropped, then the oldest reports that are not the
// end of a deployment or task, and counted; an end is never dropped, even where that exceeds the bound. Log lines
// have no more than a quarter of the spool in any case.
//
// One process at a time may have a spool open: the resident, which holds the single-instance lock.
package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// MaxReport is the longest report, in bytes of JSON. It fits one WebSocket message.
const MaxReport = protocol.MaxSocketMessage - 1024

// Limits bound a spool; zero values mean the defaults.
type Limits struct {
	Reports      int   // reports held; 10 000
	Bytes        int64 // bytes of JSON held; 64 MiB
	SegmentBytes int64 // length of one segment file; 1 MiB
}

func (l Limits) withDefaults() Limits {
	if l.Reports <= 0 {
		l.Reports = 10_000
	}
	if l.Bytes <= 0 {
		l.Bytes = 64 << 20
	}
	if l.SegmentBytes <= 0 {
		l.SegmentBytes = 1 << 20
	}
	return l
}

// entry is a report that is held.
type entry struct {
	id      string
	segment *segment
	offset  int64
	length  int   // of the JSON
	lines   int32 // of the log, and those that the report counts
	rank    rank
	gone    bool // acknowledged or dropped, but still in the order
}

// Spool is an open spool. It is safe for concurrent use.
type Spool struct {
	dir    string
	limits Limits
	added  chan struct{}

	mu       sync.Mutex
	closed   bool
	segments []*segment // oldest first; the last one is written to
	order    []*entry   // oldest first
	byID     map[string]*entry
	held     fill
	loss     Loss
}

// Loss counts the reports that were lost to this spool since it was made, for telling the admin.
type Loss struct {
	Dropped int64     `json:"dropped"` // given up because the spool was full
	Lines   int64     `json:"lines"`   // of the log in these, which TakeDroppedLines has not told yet
	Damaged int64     `json:"damaged"` // stretches of segment files that could not be read
	Last    time.Time `json:"last"`
}

const lossFile = "loss.json"

// Open opens or makes the spool in dir. Damage in its files costs the reports that it hit and is counted.
func Open(dir string, limits Limits) (*Spool, error) {
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &Spool{dir: dir, limits: limits.withDefaults(), added: make(chan struct{}, 1), byID: make(map[string]*entry)}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool %s: %w", dir, err), s.Close())
	}
	if len(s.byID) > 0 {
		s.signal()
	}
	return s, nil
}

// load reads the loss and every segment.
func (s *Spool) load() error {
	// A loss that cannot be read is begun anew: it is a figure for people.
	if data, err := os.ReadFile(filepath.Join(s.dir, lossFile)); err == nil && json.Unmarshal(data, &s.loss) != nil {
		s.loss = Loss{}
	}
	numbers, err := listSegments(s.dir)
	if err != nil {
		return err
	}
	damaged := s.loss.Damaged
	for i, number := range numbers {
		if err := s.loadSegment(number, i == len(numbers)-1); err != nil {
			return err
		}
	}
	if s.loss.Damaged > damaged {
		return s.noteLoss()
	}
	return nil
}

func (s *Spool) loadSegment(number uint64, last bool) error {
	seg, content, err := openSegment(s.dir, number, last)
	if err != nil {
		return err
	}
	s.loss.Damaged += int64(content.damaged)
	s.segments = append(s.segments, seg)
	for _, e := range content.entries {
		if s.byID[e.id] == nil && !content.gone[e.id] {
			s.hold(e)
		}
	}
	if seg.live == 0 && (!last || content.damaged > 0) {
		s.segments = s.segments[:len(s.segments)-1]
		return seg.remove()
	}
	if content.damaged > 0 {
		// Rewritten, so that the same damage is not counted at every start.
		return errors.Join(seg.retire(), seg.compact(s.entriesOf(seg)))
	}
	return nil
}

func (s *Spool) hold(e *entry) {
	s.order = append(s.order, e)
	s.byID[e.id] = e
	s.held.add(e.rank, e.length, 1)
	e.segment.live++
	e.segment.liveBytes += int64(e.length)
}

// forget takes an entry out of the books; what is in the files is left to settle.
func (s *Spool) forget(e *entry) {
	e.gone = true
	delete(s.byID, e.id)
	s.held.add(e.rank, e.length, -1)
	e.segment.live--
	e.segment.liveBytes -= int64(e.length)
}

// Add keeps reports and returns when they are on the disk. A report whose id is held already is left
// out. After an error none of the reports is kept. A full spool is no error: see Loss.
func (s *Spool) Add(ctx context.Context, reports ...protocol.Report) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("spool reports: %w", err)
	}
	encoded, err := encode(reports)
	if err != nil {
		return fmt.Errorf("spool reports: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("spool reports: %w", os.ErrClosed)
	}
	fresh := encoded[:0]
	seen := make(map[string]bool, len(encoded))
	for _, r := range encoded {
		if s.byID[r.id] == nil && !seen[r.id] {
			seen[r.id] = true
			fresh = append(fresh, r)
		}
	}
	fresh, err = s.makeRoom(fresh)
	if err == nil && len(fresh) > 0 {
		err = s.write(fresh)
	}
	if err != nil {
		return fmt.Errorf("spool reports: %w", err)
	}
	return nil
}

// record is a report on its way to a segment.
type record struct {
	id    string
	rank  rank
	lines int32
	data  []byte
}

func encode(reports []protocol.Report) ([]record, error) {
	records := make([]record, 0, len(reports))
	for _, report := range reports {
		if report.ID == "" {
			return nil, fault.Field("id", "a %s report has no id", report.Kind)
		}
		data, err := json.Marshal(report)
		if err != nil {
			return nil, fmt.Errorf("encode report %s: %w", report.ID, err)
		}
		if len(data) > MaxReport {
			return nil, fault.New(fault.TooLarge, "report %s has %d bytes, the limit is %d", report.ID, len(data), MaxReport)
		}
		records = append(records, record{id: report.ID, rank: rankOf(&report), lines: linesOf(&report), data: data})
	}
	return records, nil
}

// write appends records to the newest segment, in one piece.
func (s *Spool) write(records []record) error {
	seg, err := s.writable()
	if err != nil {
		return err
	}
	entries, err := seg.append(records)
	if err != nil {
		return err
	}
	for _, e := range entries {
		s.hold(e)
	}
	s.signal()
	return nil
}

func (s *Spool) writable() (*segment, error) {
	var number uint64 = 1
	if n := len(s.segments); n > 0 {
		last := s.segments[n-1]
		if last.file != nil && last.size < s.limits.SegmentBytes {
			return last, nil
		}
		number = last.number + 1
		if err := last.retire(); err != nil {
			return nil, err
		}
		if last.live == 0 {
			s.segments = s.segments[:n-1]
			if err := last.remove(); err != nil {
				return nil, err
			}
		}
	}
	seg, err := createSegment(s.dir, number)
	if err != nil {
		return nil, err
	}
	s.segments = append(s.segments, seg)
	return seg, nil
}

// Next returns the oldest reports: at most max of them, whose JSON together has at most maxBytes bytes,
// but always at least one when there is one. They stay in the spool, and Next returns them again, until
// Ack names them.
func (s *Spool) Next(max, maxBytes int) []protocol.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	var reports []protocol.Report
	var unreadable []*entry
	for _, e := range s.order {
		if e.gone {
			continue
		}
		if len(reports) >= max || s.closed {
			break
		}
		maxBytes -= e.length + 1 // and a comma
		if maxBytes < 0 && len(reports) > 0 {
			break
		}
		report, err := e.read()
		if err != nil {
			unreadable = append(unreadable, e)
			continue
		}
		reports = append(reports, report)
	}
	s.giveUp(unreadable)
	return reports
}

// giveUp forgets reports whose place on the disk went bad, so that they do not stop the others.
func (s *Spool) giveUp(unreadable []*entry) {
	if len(unreadable) == 0 {
		return
	}
	s.loss.Damaged += int64(len(unreadable))
	// On a disk that is failing there is nothing better to do than to go on: both are tried again later.
	_ = s.noteLoss()
	_ = s.settle(unreadable)
}

// Ack forgets reports, because the server has them or will never take them. Unknown ids are ignored.
func (s *Spool) Ack(ids ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("acknowledge reports: %w", os.ErrClosed)
	}
	var entries []*entry
	for _, id := range ids {
		if e := s.byID[id]; e != nil && !e.gone {
			e.gone = true // an id may be named twice
			entries = append(entries, e)
		}
	}
	if err := s.settle(entries); err != nil {
		return fmt.Errorf("acknowledge reports: %w", err)
	}
	return nil
}

// Len is the number of reports held.
func (s *Spool) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}

// Loss tells what was lost since the spool was made.
func (s *Spool) Loss() Loss {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loss
}

// TakeDroppedLines is how many log lines were dropped since it was last called, for telling the server.
func (s *Spool) TakeDroppedLines() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := s.loss.Lines
	if lines > 0 {
		s.loss.Lines = 0
		_ = s.noteLoss() // else they are told twice, of which nobody suffers
	}
	return lines
}

// Wait returns the channel that gets a value after reports were added, and once after Open when there are
// any. Values are not counted: one may stand for many reports. It is for one receiver.
func (s *Spool) Wait() <-chan struct{} { return s.added }

func (s *Spool) signal() {
	select {
	case s.added <- struct{}{}:
	default:
	}
}

// Close closes the files; everything that was accepted is on the disk already.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var err error
	for _, seg := range s.segments {
		err = errors.Join(err, seg.close())
	}
	return err
}

func (s *Spool) noteLoss() error {
	s.loss.Last = time.Now().UTC()
	data, err := json.Marshal(s.loss)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(s.dir, lossFile), data, 0o600)
}
