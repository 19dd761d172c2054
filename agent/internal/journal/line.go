package journal

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"hash/crc32"
)

// MaxRecord is the longest record, in bytes of JSON. It bounds what a damaged length can make a reader
// believe.
const MaxRecord = 4 << 20

// headerSize is eight hex digits, a space, eight hex digits, a space.
const headerSize = 18

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendLine appends the line that holds payload, which must contain no newline and at most MaxRecord
// bytes.
func AppendLine(dst, payload []byte) []byte {
	dst = fmt.Appendf(dst, "%08x %08x ", len(payload), crc32.Checksum(payload, castagnoli))
	dst = append(dst, payload...)
	return append(dst, '\n')
}

// Scan calls fn for every whole record of data, with the offset of its line. It leaves out what is
// damaged and goes on at the next line that is whole: losing the record behind a damaged one could make
// a finished step look as if it had not begun. end is where the last whole record ends. An error of fn
// ends the scan and is returned.
func Scan(data []byte, fn func(offset int64, payload []byte) error) (recovery Recovery, end int64, err error) {
	lost := -1 // where the stretch of damage began, or -1
	for at := 0; at < len(data); {
		payload, bad := ParseLine(data[at:])
		if bad != nil {
			if lost < 0 {
				lost = at
			}
			if recovery.Detail == "" {
				recovery.Detail = fmt.Sprintf("%s at byte %d", bad, at)
			}
			at = nextLine(data, at)
			continue
		}
		if lost >= 0 {
			recovery.Damaged++
			recovery.LostSize += int64(at - lost)
			lost = -1
		}
		if err := fn(int64(at), payload); err != nil {
			return recovery, end, err
		}
		at += headerSize + len(payload) + 1
		end = int64(at)
	}
	if lost >= 0 {
		recovery.Torn = true
		recovery.LostSize += int64(len(data) - lost)
	}
	return recovery, end, nil
}

// ParseLine returns the payload of the line that data begins with. The payload is a part of data.
func ParseLine(data []byte) ([]byte, error) {
	if len(data) < headerSize {
		return nil, fmt.Errorf("unfinished record header")
	}
	length, ok1 := hexField(data[:9])
	sum, ok2 := hexField(data[9:headerSize])
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("no record header")
	}
	if length > MaxRecord {
		return nil, fmt.Errorf("record length %d is over the limit of %d", length, MaxRecord)
	}
	end := headerSize + int(length)
	if end >= len(data) {
		return nil, fmt.Errorf("unfinished record")
	}
	payload := data[headerSize:end]
	if data[end] != '\n' {
		return nil, fmt.Errorf("record length %d does not match the line", length)
	}
	if got := crc32.Checksum(payload, castagnoli); got != sum {
		return nil, fmt.Errorf("checksum of the record is %08x, not %08x", got, sum)
	}
	return payload, nil
}

// hexField reads eight lower-case hex digits and a space. Other spellings of the same number are
// refused, so that a record has exactly one form.
func hexField(field []byte) (uint32, bool) {
	var raw [4]byte
	if field[8] != ' ' || bytes.ContainsAny(field[:8], "ABCDEF") {
		return 0, false
	}
	if _, err := hex.Decode(raw[:], field[:8]); err != nil {
		return 0, false
	}
	return uint32(raw[0])<<24 | uint32(raw[1])<<16 | uint32(raw[2])<<8 | uint32(raw[3]), true
}

func nextLine(data []byte, at int) int {
	if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(data)
}

// LineSize is the length of the line that holds a payload of n bytes.
func LineSize(n int) int { return headerSize + n + 1 }
