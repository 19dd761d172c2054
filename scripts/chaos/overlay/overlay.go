// Package overlay changes sources for one build alone, by `go build -overlay`: it puts in points at which
// a test can kill the program, records operations on files, shortens waits, or plants a fault that a test
// must find. The sources on disk, and the programs as they ship, hold nothing of it.
//
// Each change is a Rule with an anchor, a piece of the source that must occur exactly once. When a source
// changes so that an anchor is gone, Write, and this package's own test, say which one.
package overlay

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Rule changes one place of one file. Of Before, After and Instead one is set.
type Rule struct {
	File    string // from the root of the repository
	Anchor  string // must occur exactly once; any space in it stands for any other
	Before  string // code that goes in front of the anchor
	After   string // code that goes behind it
	Instead string // code that takes its place
}

const pointImport = `import point "github.com/muster/muster/scripts/chaos/point"`

var packageClause = regexp.MustCompile(`(?m)^package \w+$`)

// Write applies the rules to the sources below root, writes what comes of it into dir, and returns the
// path of the file for `go build -overlay`.
func Write(root, dir string, sets ...[]Rule) (string, error) {
	changed, err := Apply(root, sets...)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for file, source := range changed {
		to := filepath.Join(dir, strings.ReplaceAll(file, "/", "__"))
		if err := os.WriteFile(to, []byte(source), 0o600); err != nil {
			return "", fmt.Errorf("write overlay: %w", err)
		}
		from, err := filepath.Abs(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			return "", fmt.Errorf("write overlay: %w", err)
		}
		replace[from] = to
	}
	data, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	return path, nil
}

// Apply returns the changed sources by file. Its error names every rule whose anchor is gone or is not
// unique. Sets are applied in order: a rule may have its anchor in what an earlier one put in.
func Apply(root string, sets ...[]Rule) (map[string]string, error) {
	changed := map[string]string{}
	var problems []error
	for _, set := range sets {
		for _, rule := range set {
			source, ok := changed[rule.File]
			if !ok {
				data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(rule.File)))
				if err != nil {
					problems = append(problems, err)
					continue
				}
				source = string(data)
			}
			source, err := rule.apply(source)
			if err != nil {
				problems = append(problems, err)
			}
			changed[rule.File] = source
		}
	}
	for file, source := range changed {
		if strings.Contains(source, "point.") && !strings.Contains(source, pointImport) {
			changed[file] = packageClause.ReplaceAllString(source, "$0; "+pointImport)
		}
	}
	return changed, errors.Join(problems...)
}

func (r Rule) apply(source string) (string, error) {
	var words []string
	for _, word := range strings.Fields(r.Anchor) {
		words = append(words, regexp.QuoteMeta(word))
	}
	// However much space is between the words: gofmt moves them when a neighbour changes.
	found := regexp.MustCompile(strings.Join(words, `\s+`)).FindAllStringIndex(source, -1)
	if len(found) != 1 {
		return source, fmt.Errorf("%s: the anchor of a rule in scripts/chaos/overlay occurs %d times, not once; put it where the same moment is now:\n%s", r.File, len(found), r.Anchor)
	}
	from, to := found[0][0], found[0][1]
	code := r.Instead
	switch {
	case r.Before != "":
		code = r.Before + "\n" + source[from:to]
	case r.After != "":
		code = source[from:to] + "\n" + r.After
	}
	return source[:from] + code + source[to:], nil
}
