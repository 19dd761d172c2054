package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/archive"
)

func packProgram(t testing.TB, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, archive.PackProgram(&b, name, bytes.NewReader(content), int64(len(content))))
	return b.Bytes()
}

func TestPackProgram_isReproducibleAndUnpacks(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("program "), 50_000)
	packed := packProgram(t, "agent", content)
	require.Equal(t, packed, packProgram(t, "agent", content))
	var out bytes.Buffer
	n, err := archive.UnpackProgram(iotest.OneByteReader(bytes.NewReader(packed)), "agent", &out, int64(len(content)))
	require.NoError(t, err)
	require.Equal(t, int64(len(content)), n)
	require.Equal(t, content, out.Bytes())

	entries, err := archive.List(t.Context(), bytes.NewReader(packed), int64(len(packed)), archive.TarGz, archive.DefaultLimits())
	require.NoError(t, err, "what devices and the server accept anyway")
	require.Len(t, entries, 1)
	require.True(t, entries[0].Executable())
	require.Error(t, archive.PackProgram(io.Discard, "agent", bytes.NewReader(content), 10), "the file grew while it was packed")
}

func TestUnpackProgram_refuses(t *testing.T) {
	t.Parallel()
	good := packProgram(t, "agent", []byte("program"))
	file := rawEntry{name: "agent", body: []byte("program")}
	for name, data := range map[string][]byte{
		"nothing":             nil,
		"no gzip":             []byte("program"),
		"no tar":              gzipped(t, []byte("program")),
		"no entry":            gzipped(t, make([]byte, 1024)),
		"another name":        packProgram(t, "agent2", []byte("program")),
		"a path":              packProgram(t, "x/agent", []byte("program")),
		"a link":              gzipped(t, rawTar(t, rawEntry{name: "agent", typ: tar.TypeSymlink, link: "/bin/sh"})),
		"a directory":         gzipped(t, rawTar(t, rawEntry{name: "agent", typ: tar.TypeDir})),
		"two files":           gzipped(t, rawTar(t, file, file)),
		"a directory first":   gzipped(t, rawTar(t, rawEntry{name: "x", typ: tar.TypeDir}, file)),
		"over the limit":      packProgram(t, "agent", make([]byte, 101)),
		"cut":                 good[:len(good)-1],
		"damaged":             append(bytes.Clone(good[:len(good)-8]), make([]byte, 8)...),
		"data behind":         append(bytes.Clone(good), 'x'),
		"a stream behind":     append(bytes.Clone(good), good...),
		"an endless end":      gzipped(t, append(rawTar(t, file), make([]byte, 1<<20)...)),
		"a size that is none": gzipped(t, rawTar(t, rawEntry{name: "agent", size: "77777777777", body: []byte("x")})),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := archive.UnpackProgram(bytes.NewReader(data), "agent", io.Discard, 100)
			require.True(t, archive.Refused(err), "%v", err)
		})
	}
}

func TestUnpackProgram_tellsItsOwnFaults(t *testing.T) {
	t.Parallel()
	good := packProgram(t, "agent", bytes.Repeat([]byte("program"), 10_000))
	broken := errors.New("disk full")
	_, err := archive.UnpackProgram(bytes.NewReader(good), "agent", failingWriter{broken}, 1<<20)
	require.ErrorIs(t, err, broken)
	require.False(t, archive.Refused(err))
	_, err = archive.UnpackProgram(io.MultiReader(bytes.NewReader(good[:100]), iotest.ErrReader(broken)), "agent", io.Discard, 1<<20)
	require.ErrorIs(t, err, broken)
	require.False(t, archive.Refused(err))
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

// FuzzUnpackProgram: what is accepted is an archive of one file for everybody else, too.
func FuzzUnpackProgram(f *testing.F) {
	f.Add(packProgram(f, "agent", []byte("program")))
	f.Add(gzipped(f, rawTar(f, rawEntry{name: "agent", body: []byte("x")}, rawEntry{name: "b"})))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		n, err := archive.UnpackProgram(bytes.NewReader(data), "agent", &out, 1<<16)
		require.LessOrEqual(t, out.Len(), 1<<16)
		if err != nil {
			require.True(t, archive.Refused(err), "%v", err)
			return
		}
		require.Equal(t, int64(out.Len()), n)
	})
}
