package software

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

// randomList is a list of a few titles in a few versions, so that two of them have much in common.
func randomList(r *rand.Rand) []entry {
	var list []entry
	for title := range int64(6) {
		for version := range int64(3) {
			for _, arch := range []string{"amd64", "i386"} {
				for form := range 2 {
					if r.IntN(4) > 0 {
						continue
					}
					e := entry{
						key:   fmt.Sprintf("pkg:deb/t%d@%d?arch=%s&form=%d", title, version, arch, form),
						title: title, versionID: title*10 + version, name: fmt.Sprint("t", title), version: fmt.Sprint(version), arch: arch, size: int64(r.IntN(2)),
					}
					if r.IntN(2) == 0 {
						at := time.Unix(int64(r.IntN(2)), 0)
						e.installed = &at
					}
					list = append(list, e)
				}
			}
		}
	}
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func byKey(list []entry) map[string]entry {
	out := map[string]entry{}
	for _, e := range list {
		out[e.key] = e
	}
	return out
}

// versions counts each version of each title and architecture.
func versions(list []entry) map[string]int {
	out := map[string]int{}
	for _, e := range list {
		out[fmt.Sprint(e.title, " ", e.arch, " ", e.version)]++
	}
	return out
}

// Applied to the old list, a difference gives the new one: as rows, as changes for people, as counts.
func TestDiff_leadsFromOneListToTheOther(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		old, now := randomList(r), randomList(r)
		d := diff(old, now)

		rows := byKey(old)
		for _, key := range d.remove {
			require.Contains(t, rows, key)
			delete(rows, key)
		}
		for _, e := range d.insert {
			require.NotContains(t, rows, e.key)
			rows[e.key] = e
		}
		for _, e := range d.update {
			require.Contains(t, rows, e.key)
			require.False(t, rows[e.key].same(e), "what is the same is not written")
			rows[e.key] = e
		}
		require.Len(t, rows, len(now))
		for _, e := range now {
			require.True(t, rows[e.key].same(e), e.key)
		}

		have := versions(old)
		for _, c := range d.changes {
			at := fmt.Sprint(c.TitleID, " ", c.Arch, " ")
			if c.Kind != Added {
				have[at+c.From]--
			}
			if c.Kind != Removed {
				have[at+c.To]++
			}
			require.Equal(t, c.Kind == Added, c.From == "")
			require.Equal(t, c.Kind == Removed, c.To == "")
			require.NotEqual(t, c.From, c.To)
		}
		for at, n := range have {
			require.Equal(t, versions(now)[at], n, at)
		}
		for id, by := range d.titles {
			has := func(list []entry) int {
				if slices.ContainsFunc(list, func(e entry) bool { return e.title == id }) {
					return 1
				}
				return 0
			}
			require.Equal(t, has(now)-has(old), by)
		}
	}
	none := diff(randomList(rand.New(rand.NewPCG(3, 3))), randomList(rand.New(rand.NewPCG(3, 3))))
	require.Empty(t, none.insert)
	require.Empty(t, none.changes)
	require.Empty(t, none.titles)
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"pkg:deb/debian/curl@7.88.1-10?arch=amd64":   "pkg:deb/debian/curl",
		"pkg:deb/debian/curl@7.88.1-10":              "pkg:deb/debian/curl",
		"pkg:rpm/fedora/kernel@6.1#sub/path":         "pkg:rpm/fedora/kernel",
		"pkg:npm/%40scope/name@1.0":                  "pkg:npm/%40scope/name",
		"pkg:npm/@scope/name":                        "pkg:npm/@scope/name",
		"pkg:generic/Some%20Tool":                    "pkg:generic/Some%20Tool",
		"{90160000-008C-0000-1000-0000000FF1CE}_1.0": "Tool",
	} {
		id, purl := identity(protocol.Software{Row: protocol.Row{Key: key, Name: "Tool"}, Source: "s"})
		require.Equal(t, want, purl, key)
		require.Len(t, id, 64)
		other, _ := identity(protocol.Software{Row: protocol.Row{Key: key, Name: "Tool"}, Source: "t"})
		require.NotEqual(t, id, other, "another source is another title")
	}
}

// What stays beside a list takes no key of it, and does not add up however often sources are incomplete.
func TestStay_isBounded(t *testing.T) {
	t.Parallel()
	old := make([]entry, protocol.MaxSectionRows)
	for i := range old {
		old[i] = entry{key: fmt.Sprint("old", i), title: int64(i + 10), source: "x"}
	}
	now := []entry{{key: "old0", title: 1}, {key: "new", title: 2}}
	got := stay(old, slices.Clone(now), []string{"x"})
	require.Len(t, got, protocol.MaxSectionRows)
	require.Equal(t, now, got[:2])
	seen := map[string]bool{}
	for _, e := range got {
		require.False(t, seen[e.key], e.key)
		seen[e.key] = true
	}
	require.Equal(t, now, stay(old, slices.Clone(now), []string{"y"}))
}
