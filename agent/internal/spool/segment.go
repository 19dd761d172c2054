package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/muster/muster/agent/internal/journal"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/protocol"
)

// The files of segment 7 are 0000000000000007.seg, lines of reports, and 0000000000000007.ack, lines of
// ids that are needed no more.
const (
	segmentSuffix = ".seg"
	ackSuffix     = ".ack"
)

// segment is one file of reports.
type segment struct {
	dir    string
	number uint64
	file   *os.File // for appending; nil unless it is the newest
	acks   *os.File // opened at the first note
	size   int64

	live      int // reports that are still held
	liveBytes int64
}

// content is what a segment's files hold.
type content struct {
	entries []*entry
	gone    map[string]bool
	damaged int
	end     int64
}

func (s *segment) path(suffix string) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016d%s", s.number, suffix))
}

// listSegments lists the numbers of the segments in dir, in order. Notes without a segment, which a crash
// during remove leaves, are removed.
func listSegments(dir string) ([]uint64, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, name := range names {
		if text, ok := strings.CutSuffix(name.Name(), segmentSuffix); ok {
			if number, err := strconv.ParseUint(text, 10, 64); err == nil && len(text) == 16 {
				numbers = append(numbers, number)
			}
		}
	}
	for _, name := range names {
		text, ok := strings.CutSuffix(name.Name(), ackSuffix)
		number, err := strconv.ParseUint(text, 10, 64)
		if ok && err == nil && !slices.Contains(numbers, number) {
			if err := os.Remove(filepath.Join(dir, name.Name())); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// createSegment makes a segment, and makes sure that it is there after a power cut.
func createSegment(dir string, number uint64) (*segment, error) {
	s := &segment{dir: dir, number: number}
	file, err := os.OpenFile(s.path(segmentSuffix), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.SyncDir(dir); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s.file = file
	return s, nil
}

// openSegment reads a segment. The last one is made ready for appending, its torn end cut off.
func openSegment(dir string, number uint64, last bool) (*segment, content, error) {
	s := &segment{dir: dir, number: number}
	data, err := os.ReadFile(s.path(segmentSuffix))
	if err != nil {
		return nil, content{}, err
	}
	c := s.decode(data)
	notes, err := os.ReadFile(s.path(ackSuffix))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, content{}, err
	}
	c.gone = decodeNotes(notes)
	s.size = int64(len(data))
	if !last {
		return s, c, nil
	}
	if s.file, err = os.OpenFile(s.path(segmentSuffix), os.O_WRONLY, 0); err != nil {
		return nil, content{}, err
	}
	if err := s.truncate(c.end); err != nil {
		return nil, content{}, errors.Join(err, s.close())
	}
	return s, c, nil
}

// decode reads the reports of a segment. What is damaged is left out and counted; the unfinished end of a
// segment is no damage, because Add had not returned.
func (s *segment) decode(data []byte) content {
	var c content
	recovery, end, _ := journal.Scan(data, func(offset int64, payload []byte) error {
		var report protocol.Report
		if err := json.Unmarshal(payload, &report); err != nil || report.ID == "" || len(payload) > MaxReport {
			c.damaged++
			return nil //nolint:nilerr // one damaged report must not cost the others
		}
		c.entries = append(c.entries, &entry{
			id: report.ID, segment: s, offset: offset, length: len(payload), rank: rankOf(&report), lines: linesOf(&report),
		})
		return nil
	})
	c.damaged += recovery.Damaged
	c.end = end
	return c
}

// decodeNotes reads the ids that are needed no more. A note that is damaged means that its reports are
// sent once more.
func decodeNotes(data []byte) map[string]bool {
	gone := make(map[string]bool)
	_, _, _ = journal.Scan(data, func(_ int64, payload []byte) error {
		var ids []string
		if json.Unmarshal(payload, &ids) == nil {
			for _, id := range ids {
				gone[id] = true
			}
		}
		return nil
	})
	return gone
}

// append writes records and returns when they are on the disk. After an error none of them is in the
// segment; where that cannot be made sure, the segment takes no more and the next one is begun.
func (s *segment) append(records []record) ([]*entry, error) {
	var data []byte
	entries := make([]*entry, 0, len(records))
	for _, r := range records {
		entries = append(entries, &entry{
			id: r.id, segment: s, offset: s.size + int64(len(data)), length: len(r.data), rank: r.rank, lines: r.lines,
		})
		data = journal.AppendLine(data, r.data)
	}
	_, err := s.file.Write(data)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		if undo := s.truncate(s.size); undo != nil {
			err = errors.Join(err, undo, s.retire())
		}
		return nil, err
	}
	s.size += int64(len(data))
	return entries, nil
}

func (s *segment) truncate(size int64) error {
	if err := s.file.Truncate(size); err != nil {
		return err
	}
	if _, err := s.file.Seek(size, io.SeekStart); err != nil {
		return err
	}
	s.size = size
	return s.file.Sync()
}

// note writes down that ids are needed no more. It is not synced: losing it costs a repetition only.
func (s *segment) note(ids []string) error {
	if s.acks == nil {
		file, err := os.OpenFile(s.path(ackSuffix), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		s.acks = file
	}
	data, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	// A line break first: whatever an earlier write may have left unfinished ends there.
	_, err = s.acks.Write(journal.AppendLine([]byte{'\n'}, data))
	return err
}

// compact rewrites the segment with the given entries alone. The new file replaces the old one in one
// step; notes of reports that are in it no more do no harm.
func (s *segment) compact(entries []*entry) error {
	var data []byte
	offsets := make([]int64, len(entries))
	for i, e := range entries {
		payload, err := e.payload()
		if err != nil {
			return nil //nolint:nilerr // better the old file than one report less; Next deals with what is unreadable
		}
		offsets[i] = int64(len(data))
		data = journal.AppendLine(data, payload)
	}
	if err := atomicfile.Write(s.path(segmentSuffix), data, 0o600); err != nil {
		return err
	}
	for i, e := range entries {
		e.offset = offsets[i]
	}
	s.size = int64(len(data))
	return s.forgetNotes()
}

// remove removes the segment; the notes go last, so that a crash in between does not bring back reports.
func (s *segment) remove() error {
	if err := s.close(); err != nil {
		return err
	}
	if err := os.Remove(s.path(segmentSuffix)); err != nil {
		return err
	}
	return s.forgetNotes()
}

func (s *segment) forgetNotes() error {
	var err error
	if s.acks != nil {
		err = s.acks.Close()
		s.acks = nil
	}
	if removeErr := os.Remove(s.path(ackSuffix)); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err
}

// retire ends the appending.
func (s *segment) retire() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

func (s *segment) close() error {
	err := s.retire()
	if s.acks != nil {
		err = errors.Join(err, s.acks.Close())
		s.acks = nil
	}
	return err
}

// payload reads the JSON of a report and checks that it is what was written.
func (e *entry) payload() ([]byte, error) {
	file, err := os.Open(e.segment.path(segmentSuffix))
	if err != nil {
		return nil, err
	}
	line := make([]byte, journal.LineSize(e.length))
	_, err = file.ReadAt(line, e.offset)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return journal.ParseLine(line)
}

func (e *entry) read() (protocol.Report, error) {
	var report protocol.Report
	payload, err := e.payload()
	if err == nil {
		err = json.Unmarshal(payload, &report)
	}
	if err == nil && report.ID != e.id {
		err = fmt.Errorf("report %s is where report %s should be", report.ID, e.id)
	}
	return report, err
}
