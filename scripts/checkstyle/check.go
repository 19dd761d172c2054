package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Budgets in lines. A file over its budget is two files.
const (
	maxSource = 700
	maxTest   = 1000
)

// skipped are folders that hold nothing written by hand.
var skipped = []string{".git", ".muster", ".tools", "bin", "dist", "node_modules", "testdata", "test-results", "playwright-report"}

// Problem is one broken rule.
type Problem struct {
	File string
	Line int
	Text string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Check reads the tree under root and returns every broken rule, ordered by file.
func Check(root string) ([]Problem, error) {
	var problems []Problem
	packages := map[string]*goPackage{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && slices.Contains(skipped, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		problems = append(problems, checkText(rel, string(data))...)
		if strings.HasSuffix(rel, ".go") {
			found, err := checkGo(rel, data, packages)
			if err != nil {
				return err
			}
			problems = append(problems, found...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the source tree: %w", err)
	}
	problems = append(problems, checkPackages(packages)...)
	slices.SortStableFunc(problems, func(a, b Problem) int { return strings.Compare(a.File, b.File) })
	return problems, nil
}

// forbidden words per kind of file. They are joined from parts so that this file does not break its
// own rules.
var forbidden = []struct {
	suffixes []string
	word     string
	why      string
}{
	{[]string{".ts", ".tsx", ".js", ".mjs", ".json", ".sh"}, "NODE_TLS_" + "REJECT_UNAUTHORIZED", "certificates are always verified; trust the server's CA instead"},
	{[]string{".ts", ".tsx", ".js", ".mjs"}, "rejectUnauthorized:" + " false", "certificates are always verified; trust the server's CA instead"},
	{[]string{".ts", ".tsx", ".js", ".mjs"}, "ignoreHTTPS" + "Errors", "certificates are always verified; trust the server's CA instead"},
	{[]string{".sh", "run", ".md"}, "curl -" + "k", "certificates are always verified; use --cacert"},
	{[]string{".sh", "run", ".md"}, "--insec" + "ure", "certificates are always verified; use --cacert"},
	{[]string{".npmrc"}, "regis" + "try=", "packages come from the public registry; a mirror belongs into the user's own settings"},
	{[]string{".sh", "run", "Makefile", ".md"}, "GOPRO" + "XY=", "modules come from the public proxy; a mirror belongs into the user's own settings"},
}

func checkText(file, text string) []Problem {
	var problems []Problem
	for _, rule := range forbidden {
		if !slices.ContainsFunc(rule.suffixes, func(s string) bool { return strings.HasSuffix(file, s) }) {
			continue
		}
		if i := strings.Index(text, rule.word); i >= 0 {
			problems = append(problems, Problem{file, lineOf(text, i), rule.word + ": " + rule.why})
		}
	}
	if strings.HasSuffix(file, "package-lock.json") {
		problems = append(problems, checkLock(file, text)...)
	}
	return problems
}

// checkLock refuses a lock file that names the place from which something was downloaded: it would not
// install elsewhere. The digests in it are what counts.
func checkLock(file, text string) []Problem {
	var problems []Problem
	for i, line := range strings.Split(text, "\n") {
		if strings.Contains(line, `"resolved": "http`) {
			problems = append(problems, Problem{file, i + 1, "names where it was downloaded from; npm leaves that out with omit-lockfile-registry-resolved"})
		}
	}
	return problems
}

func lineOf(text string, offset int) int { return strings.Count(text[:offset], "\n") + 1 }
