package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
)

// forbiddenNames say nothing about what a package does, so everything ends up in them.
var forbiddenNames = []string{"util", "utils", "common", "helper", "helpers", "base", "misc", "model", "models", "types", "shared", "manager", "lib"}

// goPackage gathers what is known of one folder's package.
type goPackage struct {
	dir, name string
	commented bool
	source    bool // has a file that is no test
}

// checkGo checks one Go file and notes its package.
func checkGo(file string, data []byte, packages map[string]*goPackage) ([]Problem, error) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, data, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", file, err)
	}
	var problems []Problem
	test := strings.HasSuffix(file, "_test.go")

	budget := maxSource
	if test {
		budget = maxTest
	}
	if lines := bytes.Count(data, []byte("\n")); lines > budget && !ast.IsGenerated(parsed) {
		problems = append(problems, Problem{file, 0, fmt.Sprintf("%d lines, at most %d: split it by what it is about", lines, budget)})
	}
	if test && strings.HasSuffix(parsed.Name.Name, "_test") {
		// an external test package has no comment of its own
	} else {
		note(packages, path.Dir(file), parsed, test)
	}

	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			if n.Name == "Insecure"+"SkipVerify" {
				problems = append(problems, Problem{file, set.Position(n.Pos()).Line, n.Name + ": certificates are always verified, in tests too; pin the CA"})
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); test && ok && x.Name == "time" && n.Sel.Name == "Sleep" {
				problems = append(problems, Problem{file, set.Position(n.Pos()).Line, "time.Sleep in a test: wait for a state with a deadline instead"})
			}
		}
		return true
	})
	return problems, nil
}

func note(packages map[string]*goPackage, dir string, parsed *ast.File, test bool) {
	p := packages[dir]
	if p == nil {
		p = &goPackage{dir: dir, name: parsed.Name.Name}
		packages[dir] = p
	}
	p.source = p.source || !test
	p.commented = p.commented || parsed.Doc != nil && len(strings.TrimSpace(parsed.Doc.Text())) >= 40
}

func checkPackages(packages map[string]*goPackage) []Problem {
	var problems []Problem
	for _, p := range packages {
		if p.source && !p.commented {
			problems = append(problems, Problem{p.dir, 0, "package " + p.name + " has no package comment: what it does, what it guarantees after a crash, who may call it"})
		}
		if slices.Contains(forbiddenNames, p.name) {
			problems = append(problems, Problem{p.dir, 0, "package name " + p.name + " says nothing; name it after what it provides"})
		}
	}
	return problems
}
