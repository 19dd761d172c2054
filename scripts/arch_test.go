// Package scripts_test holds the tests that look at the whole repository: who imports whom, and that
// every command line in the documents still works.
package scripts_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/muster/muster/"

// source is one Go file with what it imports.
type source struct {
	file    string
	test    bool
	imports []string
}

// rules say what a file must not import. The same rules stand in .golangci.yml for editors; this test
// also sees the files of other operating systems.
var rules = []struct {
	name   string
	broken func(s source, imported string) bool
}{
	{"the server knows nothing of the agent's code", func(s source, imp string) bool {
		return in(s.file, "server") && within(imp, module+"agent")
	}},
	{"the agent knows nothing of the server's code", func(s source, imp string) bool {
		return in(s.file, "agent") && within(imp, module+"server")
	}},
	{"packages know neither server nor agent nor web", func(s source, imp string) bool {
		return in(s.file, "packages") && (within(imp, module+"server") || within(imp, module+"agent") || within(imp, module+"web"))
	}},
	{"only the server's wiring and its httpapi know the web page", func(s source, imp string) bool {
		return within(imp, module+"web") && !in(s.file, "server/internal/httpapi") && !in(s.file, "server/internal/cli") && !in(s.file, "web")
	}},
	{"gorm stays in store*.go and server/internal/store", func(s source, imp string) bool {
		return isGorm(imp) && !in(s.file, "server/internal/store") && (!in(s.file, "server") || !named(s.file, "store")) && !s.test
	}},
	{"echo stays in http*.go, httpapi and agentapi", func(s source, imp string) bool {
		return within(imp, "github.com/labstack/echo") && !in(s.file, "server/internal/httpapi") &&
			!in(s.file, "server/internal/agentapi") && (!in(s.file, "server") || !named(s.file, "http")) && !s.test
	}},
	{"processes are started by agent/internal/proc and tests only", func(s source, imp string) bool {
		return imp == "os/exec" && !in(s.file, "agent/internal/proc") && !s.test
	}},
	{"tests use testify/require, not assert", func(_ source, imp string) bool {
		return within(imp, "github.com/stretchr/testify/assert")
	}},
	{"logging is log/slog, passed in", func(_ source, imp string) bool { return imp == "log" }},
}

func TestImportRules(t *testing.T) {
	t.Parallel()
	sources := goSources(t, "..")
	require.Greater(t, len(sources), 50, "the walk did not find the source tree")
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			var broken []string
			for _, s := range sources {
				for _, imported := range s.imports {
					if rule.broken(s, imported) {
						broken = append(broken, s.file+" imports "+imported)
					}
				}
			}
			require.Empty(t, broken)
		})
	}
}

// TestTopLevel keeps the top of the repository as README.md describes it.
func TestTopLevel(t *testing.T) {
	t.Parallel()
	allowed := []string{"agent", "docs", "packages", "scripts", "server", "web", "bin"}
	files := []string{"LICENSE", "Makefile", "README.md", "go.mod", "go.sum"}
	// go build leaves a program where it is called; .gitignore names them, so that none is committed.
	programs := []string{"muster", "muster-agent", "muster-server"}
	entries, err := os.ReadDir("..")
	require.NoError(t, err)
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasPrefix(name, "."):
		case e.IsDir():
			require.Contains(t, allowed, name, "a new top-level folder needs a decision")
		case !strings.HasSuffix(name, ".test") && !slices.Contains(programs, name):
			require.Contains(t, files, name, "a new file at the top needs a decision")
		}
	}
	ignored, err := os.ReadFile("../.gitignore")
	require.NoError(t, err)
	for _, program := range programs {
		require.Contains(t, strings.Split(string(ignored), "\n"), "/"+program)
	}
}

func goSources(t *testing.T, root string) []source {
	t.Helper()
	skipped := []string{".git", ".muster", ".tools", "bin", "node_modules", "testdata"}
	var sources []source
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains(skipped, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		s := source{file: filepath.ToSlash(rel), test: strings.HasSuffix(file, "_test.go") || strings.HasSuffix(filepath.Base(filepath.Dir(file)), "test")}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, imported)
		}
		sources = append(sources, s)
		return nil
	})
	require.NoError(t, err)
	return sources
}

func in(file, dir string) bool      { return strings.HasPrefix(file, dir+"/") }
func named(file, start string) bool { return strings.HasPrefix(path.Base(file), start) }
func within(imported, root string) bool {
	return imported == strings.TrimSuffix(root, "/") || strings.HasPrefix(imported, strings.TrimSuffix(root, "/")+"/")
}

func isGorm(imported string) bool {
	return within(imported, "gorm.io") || within(imported, "github.com/ncruces/go-sqlite3") || within(imported, "github.com/go-gormigrate/gormigrate")
}
