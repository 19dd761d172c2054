package inventory

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

var update = flag.Bool("update", false, "write the golden files anew")

func systems(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("testdata/*/tree.txt")
	require.NoError(t, err)
	for i := range found {
		found[i] = filepath.Base(filepath.Dir(found[i]))
	}
	return found
}

// TestCollect_systems compares the inventory of each system of testdata with what it should be.
func TestCollect_systems(t *testing.T) {
	t.Parallel()
	require.GreaterOrEqual(t, len(systems(t)), 12)
	for _, name := range systems(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := fixtureOptions(t, name)
			sections := Collect(t.Context(), o)
			valid(t, sections)
			var got bytes.Buffer
			for _, s := range sections {
				fmt.Fprintf(&got, "# %s: %d\n", s.Name, s.Rows)
				if s.Problem != "" {
					fmt.Fprintf(&got, "# problem: %s\n", strings.ReplaceAll(s.Problem, o.Root, "ROOT"))
				}
				got.Write(s.Lines)
			}
			path := filepath.Join("testdata", name, "want.txt")
			if *update {
				require.NoError(t, os.WriteFile(path, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String(), "go test ./agent/internal/task/inventory -update writes it anew")
			again := Collect(t.Context(), o)
			require.Equal(t, sections, again, "an unchanged computer gives equal bytes")
			captured := name == "captured-firecracker"
			_, err = os.Stat(filepath.Join("testdata", name, "SYNTHESISED"))
			require.Equal(t, captured, os.IsNotExist(err), "what no computer gave says so")
		})
	}
}

// TestCollect_thisComputer: two inventories of an unchanged computer are equal, and every section is there.
// What other programs change meanwhile is held still: free space, addresses, logins and processes.
func TestCollect_thisComputer(t *testing.T) {
	t.Parallel()
	known, err := addresses()
	require.NoError(t, err)
	o := Options{calls: &calls{
		arch: "amd64", agent: "1.2.3", spaceOver: func(string) <-chan time.Time { return nil },
		space: func(path string) (int64, int64, error) {
			total, _, err := space(path)
			return total, total / 2, err
		},
		addresses: func() (map[string][]netip.Prefix, error) { return known, nil },
	}}
	stable := []string{
		protocol.SectionSystem, protocol.SectionBIOS, protocol.SectionCPUs, protocol.SectionMemory, protocol.SectionStorage, protocol.SectionControllers,
		protocol.SectionMonitors, protocol.SectionBatteries, protocol.SectionUsers,
	}
	o.Sections = stable
	first := Collect(t.Context(), o)
	valid(t, first)
	require.Len(t, first, len(stable))
	require.Equal(t, first, Collect(t.Context(), o))

	all := Collect(t.Context(), Options{Processes: true})
	valid(t, all)
	require.Len(t, all, len(collectors))
	require.Contains(t, string(named(t, all, protocol.SectionInterfaces).Lines), `"key":"lo"`)
	require.Contains(t, string(named(t, all, protocol.SectionProcesses).Lines), fmt.Sprintf(`"pid":%d,`, os.Getpid()))
	require.Positive(t, named(t, all, protocol.SectionCPUs).Rows)
	require.Positive(t, named(t, all, protocol.SectionUsers).Rows)
}
