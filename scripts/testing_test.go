package scripts_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	testName  = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]*)(?:/([^`]+))?`")
	testStart = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]+)\(`)
)

// TestTestingPage: docs/testing.md names no test that is not there, and leaves no promise without one.
func TestTestingPage(t *testing.T) {
	t.Parallel()
	tests := map[string]string{} // name → text of all files that have it
	require.NoError(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2) {
			return orSkip(err)
		}
		if d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range testStart.FindAllSubmatch(text, -1) {
			tests[string(m[1])] += string(text)
		}
		return nil
	}))
	page, err := os.ReadFile("../docs/testing.md")
	require.NoError(t, err)
	for _, m := range testName.FindAllStringSubmatch(string(page), -1) {
		text, ok := tests[m[1]]
		require.True(t, ok, "there is no %s", m[1])
		if m[2] != "" {
			require.Contains(t, text, `"`+m[2]+`"`, "%s has no case %q", m[1], m[2])
		}
	}
	rows := 0
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "| ") && strings.Count(line, "|") == 3 && !strings.Contains(line, "| tests |") {
			rows++
			require.Regexp(t, testName, line, "no test is named for it")
		}
	}
	require.Greater(t, rows, 50, "the rows were not found")
}

var (
	makeCall = regexp.MustCompile("(?m)(?:`|^)make ([a-z][a-z0-9-]*)")
	makeRule = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):[^=]`)
)

// TestMakeTargets: what the documents tell people to make can be made, and so can all that is .PHONY.
func TestMakeTargets(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	var rules []string
	for _, m := range makeRule.FindAllStringSubmatch(string(text), -1) {
		rules = append(rules, m[1])
	}
	_, phony, ok := strings.Cut(string(text), "\n.PHONY:")
	require.True(t, ok)
	phony, _, _ = strings.Cut(phony, "\n")
	require.Subset(t, rules, strings.Fields(phony))
	pages, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	for _, page := range append(pages, "../README.md") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range makeCall.FindAllStringSubmatch(string(text), -1) {
			require.Contains(t, rules, m[1], page)
		}
	}
}
