package archive_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/fault"
)

// TestHostile shows for each archive that List, which the server asks at an upload, and Unpack, which
// devices ask, refuse it for the same reason, and that nothing of it stays or comes to lie outside.
func TestHostile(t *testing.T) {
	t.Parallel()
	for format, cases := range map[string]map[string]hostile{archive.TarGz: hostileTars(t), archive.Zip: hostileZips(t)} {
		for name, c := range cases {
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				root, dir := freshRoot(t)
				_, _, _, err := unpack(t, c.data, format, root)
				require.True(t, archive.Refused(err), "%v", err)
				require.True(t, fault.Is(err, fault.Untrusted), "%v", err)
				require.Contains(t, err.Error(), "the archive is refused: ")
				require.Contains(t, err.Error(), c.why)
				require.Less(t, len(err.Error()), 700, "a name fills the log")
				requireEmptyDir(t, dir)
				requireVictimUntouched(t, dir)

				_, listErr := archive.List(t.Context(), bytes.NewReader(c.data), int64(len(c.data)), format, archive.DefaultLimits())
				require.True(t, archive.Refused(listErr), "%v", listErr)
				require.Equal(t, err.Error(), listErr.Error(), "List and Unpack differ")
			})
		}
	}
}

// TestHostile_bombsOfNothing has bombs that hold no file: tighter limits make them small.
func TestHostile_bombsOfNothing(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{
		"headers": gzipped(t, bytes.Repeat(paxHeader(), 1<<10)),
		"zeros":   gzipped(t, make([]byte, 1<<20)),
		"members": bytes.Repeat(gzipped(t, make([]byte, 64<<10)), 16),
		"skipped": gzipped(t, slices.Concat(rawEntry{name: "d", typ: '5'}.bytes(), bytes.Repeat(pax('g', "comment", "x").bytes(), 1<<10))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, dir := freshRoot(t)
			_, _, _, err := unpackLimited(t, data, archive.TarGz, root, small())
			require.True(t, archive.Refused(err), "%v", err)
			require.ErrorContains(t, err, "it unpacks to more than 100 times its size")
			requireEmptyDir(t, dir)
			requireSameVerdict(t, data, archive.TarGz, name)
		})
	}
}

// TestHostile_cutAnywhere cuts an archive at each byte.
func TestHostile_cutAnywhere(t *testing.T) {
	t.Parallel()
	for format, data := range map[string][]byte{
		archive.TarGz: tarGz(t, tarEntry{name: "d/", typ: '5'}, tarEntry{name: "d/a", body: noise(300)}, tarEntry{name: "l", typ: '2', link: "d/a"}),
		archive.Zip:   zipOf(t, zipEntry{name: "d/a", body: noise(100)}, zipEntry{name: "b", body: strings.Repeat("text ", 50)}),
	} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			root, dir := freshRoot(t)
			for n := range len(data) {
				_, _, _, err := unpack(t, data[:n], format, root)
				require.True(t, archive.Refused(err), "%d of %d bytes: %v", n, len(data), err)
				_, err = archive.List(t.Context(), bytes.NewReader(data[:n]), int64(n), format, archive.DefaultLimits())
				require.True(t, archive.Refused(err), "%d of %d bytes: %v", n, len(data), err)
			}
			requireEmptyDir(t, dir)
			requireVictimUntouched(t, dir)
		})
	}
}

// TestHostile_anyByteWrong changes each byte of a zip, and of a tar's header under a right checksum. Some
// bytes say nothing, so an archive may pass; then it is harmless, and List says so too.
func TestHostile_anyByteWrong(t *testing.T) {
	t.Parallel()
	t.Run(archive.TarGz, func(t *testing.T) {
		t.Parallel()
		for i := range 345 { // behind them is padding, or more of the name
			with := []byte{0xff, '/', '1'}[i%3]
			bad := rawTar(t, rawEntry{name: "d/a", body: []byte("x")}, rawEntry{name: "d/b", typ: '1', link: "d/a", patch: func(head []byte) { head[i] = with }})
			requireSameVerdict(t, bad, archive.TarGz, fmt.Sprintf("byte %d is %#x", i, with))
		}
	})
	t.Run(archive.Zip, func(t *testing.T) {
		t.Parallel()
		good := zipOf(t, zipEntry{name: "d/a", body: "content", store: true}, zipEntry{name: "l", body: "d/a", mode: fs.ModeSymlink | 0o777, store: true})
		for i := range good {
			with := []byte{good[i] ^ 1, 0xff, '/'}[i%3]
			bad := patched(good, func(b []byte) { b[i] = with })
			requireSameVerdict(t, bad, archive.Zip, fmt.Sprintf("byte %d is %#x", i, with))
		}
	})
}

// requireSameVerdict wants List and Unpack to agree, and nothing outside or left behind.
func requireSameVerdict(t *testing.T, data []byte, format, what string) {
	t.Helper()
	root, dir := freshRoot(t)
	seen, _, _, err := unpackLimited(t, data, format, root, small())
	listed, listErr := archive.List(t.Context(), bytes.NewReader(data), int64(len(data)), format, small())
	requireVictimUntouched(t, dir)
	if err != nil {
		require.True(t, archive.Refused(err), "%s: %v", what, err)
		require.True(t, archive.Refused(listErr), "%s: Unpack says %v, List %v", what, err, listErr)
		require.Equal(t, err.Error(), listErr.Error(), what)
		requireEmptyDir(t, dir)
		return
	}
	require.NoError(t, listErr, what)
	links := func(e archive.Entry) bool { return e.Symlink() }
	require.ElementsMatch(t, slices.DeleteFunc(slices.Clone(seen), links), slices.DeleteFunc(slices.Clone(listed), links), what)
	require.Len(t, seen, len(listed), what)
	requireLinksInside(t, dir)
}

func TestUnpack_limits(t *testing.T) {
	t.Parallel()
	loose := archive.DefaultLimits()
	many := make([]tarEntry, 50)
	files := make([]zipEntry, 50)
	for i := range many {
		many[i] = tarEntry{name: fmt.Sprintf("d%d/f", i), body: "12345"}
		files[i] = zipEntry{name: many[i].name, body: many[i].body}
	}
	cases := map[string]struct {
		change func(*archive.Limits)
		ok     bool
	}{
		"just enough entries":           {func(l *archive.Limits) { l.Entries = 100 }, true},
		"implied directories count":     {func(l *archive.Limits) { l.Entries = 99 }, false},
		"just enough bytes":             {func(l *archive.Limits) { l.Bytes = 250 }, true},
		"too many bytes":                {func(l *archive.Limits) { l.Bytes = 249 }, false},
		"file too large":                {func(l *archive.Limits) { l.FileBytes = 4 }, false},
		"ratio":                         {func(l *archive.Limits) { l.RatioFloor, l.Ratio = 0, 0.01 }, false},
		"ratio does not apply to small": {func(l *archive.Limits) { l.Ratio = 0.01 }, true},
	}
	for format, data := range map[string][]byte{archive.TarGz: tarGz(t, many...), archive.Zip: zipOf(t, files...)} {
		for name, c := range cases {
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				lim := loose
				c.change(&lim)
				root, dir := freshRoot(t)
				_, _, _, err := unpackLimited(t, data, format, root, lim)
				_, listErr := archive.List(t.Context(), bytes.NewReader(data), int64(len(data)), format, lim)
				if c.ok {
					require.NoError(t, err)
					require.NoError(t, listErr)
					return
				}
				require.True(t, archive.Refused(err), "%v", err)
				require.True(t, archive.Refused(listErr), "%v", listErr)
				requireEmptyDir(t, dir)
			})
		}
	}
}
