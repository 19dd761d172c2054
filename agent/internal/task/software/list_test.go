package software

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fixed is the time at which every file of a fixture was changed.
var fixed = time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is one system of testdata: files, links, and what commands print. testdata/README.md tells the
// format, and which systems are recorded and which are made up.
type fixture struct {
	files    map[string]string
	links    map[string]string
	commands map[string]string // by the command's name
}

func parseFixture(t *testing.T, text string) fixture {
	t.Helper()
	f := fixture{files: map[string]string{}, links: map[string]string{}, commands: map[string]string{}}
	var name string
	for line := range strings.Lines(text) {
		if header, ok := strings.CutPrefix(line, "-- "); ok && strings.Contains(line, " -> ") {
			from, to, _ := strings.Cut(strings.TrimSpace(header), " -> ")
			f.links[from], name = strings.TrimSuffix(to, " --"), ""
			continue
		} else if ok && strings.HasSuffix(header, " --\n") {
			name = strings.TrimSuffix(header, " --\n")
			if command, isRun := strings.CutPrefix(name, "run: "); isRun {
				f.commands[command] = ""
			} else {
				f.files[strings.TrimPrefix(name, "base64: ")] = ""
			}
			continue
		}
		if command, isRun := strings.CutPrefix(name, "run: "); isRun {
			f.commands[command] += line
		} else if file, isBinary := strings.CutPrefix(name, "base64: "); isBinary {
			data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
			require.NoError(t, err)
			f.files[file] += string(data)
		} else if name != "" {
			f.files[name] += line
		}
	}
	require.NotEmpty(t, f.files)
	return f
}

// place writes the fixture's tree and returns how to list it.
func (f fixture) place(t *testing.T) Options {
	t.Helper()
	root := t.TempDir()
	for name, text := range f.files {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		require.NoError(t, os.Chtimes(path, fixed, fixed))
	}
	for name, target := range f.links {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.Symlink(target, path))
	}
	return Options{Root: root, Run: func(_ context.Context, name string, _ ...string) ([]byte, error) {
		out, ok := f.commands[name]
		if !ok {
			return nil, fmt.Errorf("run %s: %w", name, os.ErrNotExist)
		}
		status, out, _ := strings.Cut(out, "\n")
		if status != "0" {
			return []byte(out), errors.New("exit code " + status)
		}
		return []byte(out), nil
	}}
}

// TestList_systems lists every fixture and compares with what is known of it.
func TestList_systems(t *testing.T) {
	t.Parallel()
	fixtures, err := filepath.Glob("testdata/*.system")
	require.NoError(t, err)
	require.NotEmpty(t, fixtures)
	for _, path := range fixtures {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".system"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			o := parseFixture(t, string(text)).place(t)
			rows, problem := List(t.Context(), o)
			got := golden(t, rows, problem, o.Root)
			file := strings.TrimSuffix(path, ".system") + ".golden"
			if *update {
				require.NoError(t, os.WriteFile(file, got, 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))

			again, _ := List(t.Context(), o)
			require.Equal(t, rows, again, "two looks at one system differ")
			checkRows(t, rows)
		})
	}
}

// golden writes rows one a line, and what could not be read.
func golden(t *testing.T, rows []protocol.Software, problem error, root string) []byte {
	t.Helper()
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	lines.SetEscapeHTML(false)
	for _, row := range rows {
		require.NoError(t, lines.Encode(row))
	}
	if problem != nil {
		fmt.Fprintf(&b, "problem: %s\n", strings.ReplaceAll(problem.Error(), root, ""))
	}
	return b.Bytes()
}

// checkRows asserts what holds of the rows of any system.
func checkRows(t *testing.T, rows []protocol.Software) {
	t.Helper()
	last := ""
	require.LessOrEqual(t, len(rows), protocol.MaxSectionRows)
	for _, row := range rows {
		require.Less(t, last, row.Key, "keys are sorted, each once")
		last = row.Key
		require.NotEmpty(t, row.Name)
		require.LessOrEqual(t, len(row.Key), maxKey)
		require.GreaterOrEqual(t, row.SizeBytes, int64(0))
		for _, text := range []string{row.Key, row.Name, row.Version, row.Publisher, row.Summary, row.Arch, row.Condition} {
			require.Equal(t, clean(text, 600), text)
		}
		ref, err := Parse(row.Key)
		require.NoError(t, err)
		require.Equal(t, row.Source, ref.Source)
		data, err := json.Marshal(row)
		require.NoError(t, err)
		require.Less(t, len(data), protocol.MaxRow)
	}
}

// TestList_aSourceLosesItsOwnRowsOnly: one that fails, and one whose reader has a bug, are named, and the
// rest is there.
func TestList_aSourceLosesItsOwnRowsOnly(t *testing.T) {
	t.Parallel()
	row := func(name string) func(*scan) error {
		return func(s *scan) error {
			s.add(Ref{Name: name}, protocol.Software{Row: protocol.Row{Name: name}})
			return nil
		}
	}
	rows, present, err := list(t.Context(), Options{Root: t.TempDir()}, []source{
		{"zeta", row("last"), false},
		{"broken", func(s *scan) error {
			require.NoError(t, row("half")(s))
			return fault.New(fault.Invalid, "it is torn")
		}, false},
		{"buggy", func(*scan) error { return fmt.Errorf("%d", []int{}[len(os.Args)+5]) }, false},
		{"absent", func(*scan) error { return nil }, false},
		{"alpha", row("first"), false},
	})
	require.ErrorContains(t, err, "broken: it is torn")
	require.ErrorContains(t, err, "buggy: the reader of this source failed")
	require.Len(t, rows, 3)
	checkRows(t, rows)
	require.Equal(t, []string{"alpha", "broken", "zeta"}, present)
}

// TestList_isBounded: rows that do not fit into a section are left out, and said.
func TestList_isBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxText)
	rows, _, err := list(t.Context(), Options{Root: t.TempDir()}, []source{{"flood", func(s *scan) error {
		for i := range protocol.MaxSectionRows + 10 {
			s.add(Ref{Name: "p", Version: fmt.Sprint(i)}, protocol.Software{Row: protocol.Row{Name: "p"}, Summary: long})
		}
		return nil
	}, false}})
	require.ErrorContains(t, err, "flood: ")
	require.ErrorContains(t, err, "programs that were left out")
	require.Equal(t, fault.TooLarge, fault.CodeOf(err))
	require.Less(t, len(rows), protocol.MaxSectionRows)
	require.Greater(t, len(rows), 20_000)
	data, err := json.Marshal(rows)
	require.NoError(t, err)
	require.LessOrEqual(t, len(data), protocol.MaxSectionBytes)
}

func TestList_endsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rows, err := List(ctx, Options{Root: t.TempDir()})
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, rows)
}

func TestInstalled(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		dpkgDir + "/status": "Package: editor\nStatus: hold ok installed\nVersion: 2:1.0-3\n\n" +
			"Package: half\nStatus: install ok half-configured\nVersion: 1\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n",
		"usr/local/lib/node_modules/broken/package.json":     "[]",
		flatpakDir + "/app/org.x.Y/x/stable/active/metadata": "",
	}
	o := fixture{files: files}.place(t)
	for name, want := range map[string]int{"editor": 1, "half": 0, "gone": 0, "other": 0, "org.x.Y": 1} {
		rows, err := Installed(t.Context(), o, name)
		require.NoError(t, err, "what comes beside the system's own packages and is broken is no reason to stop")
		require.Len(t, rows, want, name)
	}

	files["lib/apk/db/installed/file"] = ""
	o = fixture{files: files}.place(t)
	rows, err := Installed(t.Context(), o, "editor")
	require.NoError(t, err)
	require.Len(t, rows, 1)
	_, err = Installed(t.Context(), o, "other")
	require.ErrorContains(t, err, "apk: read /lib/apk/db/installed", "it may be in there")
	require.NotContains(t, err.Error(), "npm")

	_, err = Installed(t.Context(), Options{Root: t.TempDir()}, "editor")
	require.Equal(t, fault.Unsupported, fault.CodeOf(err))
}
