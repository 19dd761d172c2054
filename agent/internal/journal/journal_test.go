package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type step struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

func written(t testing.TB, steps ...step) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal")
	j, records, err := Open[step](path)
	require.NoError(t, err)
	require.Empty(t, records)
	for _, s := range steps {
		require.NoError(t, j.Append(s))
	}
	require.NoError(t, j.Close())
	return path
}

func TestJournal_keepsWhatWasAppended(t *testing.T) {
	t.Parallel()
	steps := []step{{"accepted", 1}, {"a\nb\u2028<&>", 2}, {strings.Repeat("x", 100_000), 3}}
	path := written(t, steps...)
	j, records, err := Open[step](path)
	require.NoError(t, err)
	require.True(t, j.Recovery().Clean())
	require.Equal(t, steps, records)
	require.NoError(t, j.Append(step{"finished", 4}))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, j.Close())
	require.NoError(t, j.Close(), "closing twice is harmless")
	require.ErrorIs(t, j.Append(step{}), os.ErrClosed)
	_, records, err = Open[step](path)
	require.NoError(t, err)
	require.Len(t, records, 4)
}

// TestJournal_damage tells for each way of being damaged which records survive.
func TestJournal_damage(t *testing.T) {
	t.Parallel()
	var one, two, three []byte
	one = AppendLine(nil, []byte(`{"name":"one","n":1}`))
	two = AppendLine(nil, []byte(`{"name":"two","n":2}`))
	three = AppendLine(nil, []byte(`{"name":"three","n":3}`))
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	change := func(line []byte, at int, b byte) []byte {
		line = bytes.Clone(line)
		line[at] = b
		return line
	}
	cases := map[string]struct {
		data    []byte
		survive []string
		torn    bool
		damaged int
		detail  string
	}{
		"empty":                  {data: nil},
		"whole":                  {data: join(one, two), survive: []string{"one", "two"}},
		"torn in the header":     {data: join(one, two[:5]), survive: []string{"one"}, torn: true, detail: "unfinished record header"},
		"torn in the payload":    {data: join(one, two[:25]), survive: []string{"one"}, torn: true, detail: "unfinished record"},
		"torn before its end":    {data: join(one, two[:len(two)-1]), survive: []string{"one"}, torn: true, detail: "unfinished record"},
		"only a torn record":     {data: one[:10], torn: true, detail: "at byte 0"},
		"bad checksum at end":    {data: join(one, change(two, 30, 'X')), survive: []string{"one"}, torn: true, detail: "checksum"},
		"bad checksum inside":    {data: join(one, change(two, 30, 'X'), three), survive: []string{"one", "three"}, damaged: 1, detail: "checksum"},
		"bad length inside":      {data: join(one, change(two, 7, '1'), three), survive: []string{"one", "three"}, damaged: 1},
		"length beyond the end":  {data: join(one, change(two, 4, '1')), survive: []string{"one"}, torn: true, detail: "unfinished record"},
		"absurd length":          {data: join(one, change(two, 0, 'f'), three), survive: []string{"one", "three"}, damaged: 1, detail: "over the limit"},
		"upper-case length":      {data: join(change(one, 7, 'A'), three), survive: []string{"three"}, damaged: 1, detail: "no record header"},
		"garbage first":          {data: join([]byte("\x00\x01garbage\n"), one), survive: []string{"one"}, damaged: 1, detail: "at byte 0"},
		"garbage last":           {data: join(one, []byte("garbage without an end, long enough")), survive: []string{"one"}, torn: true},
		"garbage without break":  {data: join([]byte("junk"), one, two), survive: []string{"two"}, damaged: 1},
		"zeros after power loss": {data: join(one, make([]byte, 4096)), survive: []string{"one"}, torn: true, detail: "no record header"},
		"zeros inside":           {data: join(one, make([]byte, 50), []byte("\n"), two), survive: []string{"one", "two"}, damaged: 1},
		"two stretches":          {data: join([]byte("a\n"), one, []byte("b\nc\n"), two, three[:9]), survive: []string{"one", "two"}, damaged: 2, torn: true},
		"same record twice":      {data: join(one, one), survive: []string{"one", "one"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "journal")
			require.NoError(t, os.WriteFile(path, tc.data, 0o600))
			j, records, err := Open[step](path)
			require.NoError(t, err)
			var names []string
			for _, r := range records {
				names = append(names, r.Name)
			}
			require.Equal(t, tc.survive, names)
			require.Equal(t, tc.torn, j.Recovery().Torn)
			require.Equal(t, tc.damaged, j.Recovery().Damaged)
			require.Contains(t, j.Recovery().Detail, tc.detail)
			require.Equal(t, tc.torn || tc.damaged > 0, !j.Recovery().Clean())

			// It can be appended to, and is whole from then on.
			require.NoError(t, j.Append(step{"new", 9}))
			require.NoError(t, j.Close())
			j, records, err = Open[step](path)
			require.NoError(t, err)
			require.True(t, j.Recovery().Clean(), j.Recovery().Detail)
			require.Len(t, records, len(tc.survive)+1)
			require.NoError(t, j.Close())
		})
	}
}

// TestJournal_cutAnywhere cuts a journal after every byte: what was whole before the cut is there.
func TestJournal_cutAnywhere(t *testing.T) {
	t.Parallel()
	path := written(t, step{"one", 1}, step{"two", 2}, step{"three", 3})
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for cut := range data {
		require.NoError(t, os.WriteFile(path, data[:cut], 0o600))
		j, records, err := Open[step](path)
		require.NoError(t, err)
		require.Len(t, records, bytes.Count(data[:cut], []byte("\n")), "cut after %d bytes", cut)
		require.NoError(t, j.Close())
	}
}

func TestJournal_refuses(t *testing.T) {
	t.Parallel()
	path := written(t, step{"one", 1})
	j, _, err := Open[step](path)
	require.NoError(t, err)
	require.ErrorContains(t, j.Append(step{strings.Repeat("x", MaxRecord), 1}), "the limit is 4194304")
	require.NoError(t, j.Append(step{"two", 2}), "a refused record does no harm")
	require.NoError(t, j.Close())

	_, _, err = Open[[]int](path)
	require.ErrorContains(t, err, "decode record 1")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 2, bytes.Count(data, []byte("\n")), "a record of another version is not thrown away")

	_, _, err = Open[step](filepath.Join(t.TempDir(), "missing", "journal"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestJournal_failedWriteLeavesItUsable(t *testing.T) {
	t.Parallel()
	path := written(t, step{"one", 1})
	j, _, err := Open[step](path)
	require.NoError(t, err)
	// A descriptor that cannot be written to stands for a disk that fails.
	readOnly, err := os.Open(path)
	require.NoError(t, err)
	good := j.file
	j.file = readOnly
	require.Error(t, j.Append(step{"lost", 2}))
	require.ErrorContains(t, j.Append(step{"lost", 2}), "unusable after an earlier error")
	require.NoError(t, good.Close())
	require.NoError(t, j.Close())
	j, records, err := Open[step](path)
	require.NoError(t, err)
	require.Equal(t, []step{{"one", 1}}, records)
	require.NoError(t, j.Append(step{"two", 2}))
}

func FuzzScan(f *testing.F) {
	line := AppendLine(nil, []byte(`{"name":"one","n":1}`))
	f.Add(line)
	f.Add(append(append([]byte("junk\n"), line...), line[:20]...))
	f.Add([]byte("ffffffff 00000000 x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var good []byte
		recovery, end, err := Scan(data, func(offset int64, payload []byte) error {
			if want := AppendLine(nil, payload); !bytes.HasPrefix(data[offset:], want) {
				return fmt.Errorf("the record at %d is not in the data", offset)
			}
			good = AppendLine(good, payload)
			return nil
		})
		require.NoError(t, err)
		require.LessOrEqual(t, end, int64(len(data)))
		require.Equal(t, int64(len(data)), recovery.LostSize+int64(len(good)), "every byte is a record's or lost")
		again, _, err := Scan(good, func(int64, []byte) error { return nil })
		require.NoError(t, err)
		require.True(t, again.Clean())
	})
}

func BenchmarkAppend(b *testing.B) {
	j, _, err := Open[step](filepath.Join(b.TempDir(), "journal"))
	require.NoError(b, err)
	for b.Loop() {
		require.NoError(b, j.Append(step{"started", 1}))
	}
}
