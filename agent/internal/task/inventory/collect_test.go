package inventory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

// named finds a section.
func named(t *testing.T, sections []Section, name string) Section {
	t.Helper()
	for _, s := range sections {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no section %s", name)
	return Section{}
}

// valid asserts what the protocol and the server demand of every section.
func valid(t *testing.T, sections []Section) {
	t.Helper()
	head := protocol.InventoryHead{Protocol: protocol.Version}
	for _, s := range sections {
		head.Sections = append(head.Sections, protocol.SectionHead{Name: s.Name, SHA256: s.SHA256, Rows: s.Rows, Bytes: int64(len(s.Lines)), Problem: s.Problem})
		if s.SHA256 != "" {
			sum := sha256.Sum256(s.Lines)
			require.Equal(t, hex.EncodeToString(sum[:]), s.SHA256)
		}
		require.Equal(t, s.Rows, bytes.Count(s.Lines, []byte("\n")))
		last := ""
		for line := range bytes.Lines(s.Lines) {
			var row protocol.Row
			require.NoError(t, json.Unmarshal(line, &row))
			require.NotEmpty(t, row.Key)
			require.NotEmpty(t, row.Name)
			require.LessOrEqual(t, len(line), protocol.MaxRow)
			require.Greater(t, row.Key, last, "%s: keys are unique and sorted", s.Name)
			last = row.Key
		}
	}
	require.NoError(t, head.Validate())
}

func TestCollect_oneThatFailsLosesItsOwnSectionOnly(t *testing.T) {
	t.Parallel()
	good := func(name string) collector {
		return rows(name, func(context.Context, *host) ([]protocol.User, error) {
			return []protocol.User{{Row: protocol.Row{Key: "ann", Name: "Ann"}}}, nil
		})
	}
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	stuck := rows("stuck", func(context.Context, *host) ([]protocol.User, error) {
		<-never
		return nil, nil
	})
	stuck.limit, stuck.grace = time.Millisecond, time.Millisecond
	late := rows("late", func(ctx context.Context, _ *host) ([]protocol.User, error) {
		<-ctx.Done()
		return []protocol.User{{Row: protocol.Row{Key: "bob"}}}, ctx.Err()
	})
	late.limit, late.grace = time.Millisecond, time.Minute
	var none map[string]int
	got := collect(t.Context(), Options{Root: t.TempDir()}, []collector{
		good("first"),
		rows("failing", func(context.Context, *host) ([]protocol.User, error) { return nil, errors.New("it is broken\x1b[31m") }),
		rows("panicking", func(context.Context, *host) ([]protocol.User, error) { none["x"]++; return nil, nil }),
		rows("partial", func(context.Context, *host) ([]protocol.User, error) {
			return []protocol.User{{Row: protocol.Row{Key: "x"}}}, errors.New("half of it")
		}),
		stuck, late, good("last"),
	})
	require.Len(t, got, 7)
	valid(t, got)
	require.Equal(t, 1, named(t, got, "first").Rows)
	require.Equal(t, 1, named(t, got, "last").Rows)
	require.Equal(t, named(t, got, "first").SHA256, named(t, got, "last").SHA256)
	require.Equal(t, Section{Name: "failing", Problem: "it is broken[31m"}, named(t, got, "failing"))
	require.Regexp(t, `^the collector of panicking failed: assignment to entry in nil map at collect_test.go:\d+$`, named(t, got, "panicking").Problem)
	require.Empty(t, named(t, got, "panicking").SHA256)
	require.Equal(t, "half of it", named(t, got, "partial").Problem)
	require.Equal(t, 1, named(t, got, "partial").Rows)
	require.Equal(t, "the collector of stuck did not come back within 1ms", named(t, got, "stuck").Problem)
	require.Equal(t, 1, named(t, got, "late").Rows, "what it had by the limit is kept")
	require.NotEmpty(t, named(t, got, "late").Problem)
}

func TestCollect_choosesSections(t *testing.T) {
	t.Parallel()
	software := func(context.Context) ([]protocol.Software, error) {
		return []protocol.Software{{Row: protocol.Row{Key: "pkg:deb/debian/b@1"}}, {Row: protocol.Row{Key: "pkg:deb/debian/a@1"}}}, nil
	}
	names := func(o Options) (list []string) {
		for _, s := range Collect(t.Context(), o) {
			list = append(list, s.Name)
		}
		return list
	}
	require.NotContains(t, names(Options{}), protocol.SectionProcesses, "processes are told only where the device allows it")
	require.NotContains(t, names(Options{}), protocol.SectionSoftware)
	require.Equal(t, []string{"system", "software"}, names(Options{Sections: []string{"software", "system", "unheard-of"}, Software: software}))
	require.Empty(t, names(Options{Sections: []string{protocol.SectionProcesses}}))
	got := Collect(t.Context(), Options{Sections: []string{"software"}, Software: software})
	valid(t, got)
	require.True(t, strings.HasPrefix(string(got[0].Lines), `{"key":"pkg:deb/debian/a@1"`), "sorted by key")
}

func TestEncode_cleansSortsAndBounds(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 600)
	found := []protocol.User{
		{Row: protocol.Row{Key: "same", Name: "two"}}, {Row: protocol.Row{Key: "same", Name: "one"}}, {Row: protocol.Row{Key: "same#2", Name: "own"}},
		{Row: protocol.Row{Key: "a\x00\x1b", Name: " n\xffm "}, RealName: "A\u202Enn\nB", Groups: []string{"g\x07", strings.Repeat("é", 400)}},
		{Row: protocol.Row{Key: long + "1"}}, {Row: protocol.Row{Key: long + "2"}}, {},
	}
	l := encode(found)
	valid(t, []Section{{Name: "users", Lines: l.data, Rows: l.rows, SHA256: l.digest(), Problem: l.problem}})
	require.Equal(t, 7, l.rows)
	text := string(l.data)
	require.Contains(t, text, `{"key":"a","name":"n`+"\uFFFD"+`m","uid":"","real_name":"Ann B"`)
	require.Contains(t, text, `{"key":"same","name":"one"`)
	require.Contains(t, text, `{"key":"same#2","name":"own"`)
	require.Contains(t, text, `{"key":"same#3","name":"two"`)
	require.Contains(t, text, `{"key":"-","name":"-"`)
	require.NotContains(t, text, strings.Repeat("é", 251))
	require.Empty(t, l.problem)

	big := encode([]protocol.User{{Row: protocol.Row{Key: "big"}, Groups: slicesOf(strings.Repeat("g", 400), 90)}, {Row: protocol.Row{Key: "small"}}})
	require.Equal(t, 1, big.rows)
	require.Contains(t, big.problem, "big was left out")
	many := encode(make([]protocol.User, protocol.MaxSectionRows+5))
	require.Equal(t, protocol.MaxSectionRows, many.rows)
	require.Contains(t, many.problem, "only the first 50000 of 50005")
}

func slicesOf(s string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = s
	}
	return list
}
