package archive_test

import (
	stdzip "archive/zip"
	"bytes"
	"encoding/binary"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

// zipEntry is one entry of a test archive; zero values are a regular file.
type zipEntry struct {
	name  string
	body  string
	mode  fs.FileMode // 0644 if 0
	store bool
}

// zipOf writes the entries in their order, also the same name twice.
func zipOf(t testing.TB, entries ...zipEntry) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw := stdzip.NewWriter(&buf)
	for _, e := range entries {
		h := &stdzip.FileHeader{Name: e.name, Method: stdzip.Deflate}
		if e.store {
			h.Method = stdzip.Store
		}
		if e.mode == 0 {
			e.mode = 0o644
		}
		h.SetMode(e.mode)
		w, err := zw.CreateHeader(h)
		require.NoError(t, err)
		if e.body != "" {
			_, err = w.Write([]byte(e.body))
			require.NoError(t, err)
		}
	}
	require.NoError(t, zw.Close())
	return buf.Bytes()
}

// Offsets in the records of a zip.
const (
	zipCreator                                          = 4                 // of an entry in the directory
	zipFlags, zipMethod, zipCRC, zipPacked, zipUnpacked = 8, 10, 16, 20, 24 // likewise
	zipOffset                                           = 42                // likewise: where its local header is
	zipLocalMethod, zipLocalName                        = 8, 30             // of a local header
	zipEndCount, zipEndSize, zipEndOffset               = 10, 12, 16        // of the end of the directory
	zipEndComment                                       = 20
)

// record finds the n-th record with the signature.
func record(t testing.TB, b []byte, signature string, n int) []byte {
	t.Helper()
	at := 0
	for ; ; n-- {
		i := bytes.Index(b[at:], []byte(signature))
		require.GreaterOrEqual(t, i, 0)
		at += i
		if n == 0 {
			return b[at:]
		}
		at += len(signature)
	}
}

func local(t testing.TB, b []byte, n int) []byte   { return record(t, b, "PK\x03\x04", n) }
func central(t testing.TB, b []byte, n int) []byte { return record(t, b, "PK\x01\x02", n) }
func zipEnd(t testing.TB, b []byte) []byte         { return record(t, b, "PK\x05\x06", 0) }

// patched is a copy of b after a change.
func patched(b []byte, change func(b []byte)) []byte {
	b = bytes.Clone(b)
	change(b)
	return b
}

func put16(b []byte, v uint16) { binary.LittleEndian.PutUint16(b, v) }
func put32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }

// zip64Offset is a zip of one empty file whose local header is said to be at an offset of 64 bits.
func zip64Offset(offset uint64) []byte {
	b := []byte("PK\x03\x04")
	b = append(b, make([]byte, 22)...)
	b = append(b, 1, 0, 0, 0, 'a')
	start := len(b)
	entry := append([]byte("PK\x01\x02"), make([]byte, 42)...)
	put16(entry[28:], 1)
	put16(entry[30:], 12)
	put32(entry[zipOffset:], 1<<32-1)
	b = append(append(b, entry...), 'a', 1, 0, 8, 0)
	b = binary.LittleEndian.AppendUint64(b, offset)
	end := append([]byte("PK\x05\x06"), make([]byte, 18)...)
	put16(end[8:], 1)
	put16(end[zipEndCount:], 1)
	put32(end[zipEndSize:], uint32(len(b)-start))
	put32(end[zipEndOffset:], uint32(start))
	return append(b, end...)
}

// zip64Declaring is a zip whose directory announces n entries.
func zip64Declaring(n uint64) []byte {
	b := []byte("PK\x05\x06") // begins as an empty one
	b = append(b, make([]byte, 18)...)
	at := uint64(len(b))
	b = append(b, "PK\x06\x06"...)
	b = binary.LittleEndian.AppendUint64(b, 44)
	b = append(b, make([]byte, 12)...)
	b = binary.LittleEndian.AppendUint64(b, n)
	b = binary.LittleEndian.AppendUint64(b, n)
	b = append(b, make([]byte, 16)...)
	b = append(b, "PK\x06\x07\x00\x00\x00\x00"...)
	b = binary.LittleEndian.AppendUint64(b, at)
	b = append(b, "\x01\x00\x00\x00PK\x05\x06\x00\x00\x00\x00"...)
	b = append(b, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"...)
	return b
}
