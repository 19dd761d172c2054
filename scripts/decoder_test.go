package scripts_test

import (
	"fmt"
	"go/ast"
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

// The rule: a function of server, agent or packages that calls a parser is a decoder, and a decoder must be
// reached from a fuzz target of its own folder, directly or through other functions of that folder. A parser
// is one of the calls below, given anything but a constant. Names are followed, not types: a method counts as
// reached when a method of its name is called. What needs no target of its own says why, right above the
// function:
//
//	//fuzz:by server/internal/httpapi.FuzzRequests    a target of another folder reaches it
//	//fuzz:none the server wrote this row itself      what it reads is not from outside
//
// An excuse that is not needed, or names no target, is a failure as well.

// parsers are the functions that turn bytes or text into something else, by import path; a name that ends
// in * is a beginning.
var parsers = map[string][]string{
	"archive/tar":     {"NewReader"},
	"archive/zip":     {"NewReader", "OpenReader"},
	"bufio":           {"NewReader*", "NewScanner"},
	"compress/gzip":   {"NewReader"},
	"crypto/x509":     {"Parse*"},
	"encoding/base64": {"Decode*"},
	"encoding/binary": {"Read", "Uint*", "Uvarint", "ReadUvarint"},
	"encoding/hex":    {"Decode*"},
	"encoding/json":   {"Unmarshal", "NewDecoder"},
	"encoding/pem":    {"Decode"},
	"fmt":             {"Sscan*", "Fscan*"},
	"net":             {"Parse*"},
	"net/http":        {"Parse*", "ReadRequest", "ReadResponse"},
	"net/netip":       {"Parse*"},
	"net/url":         {"Parse*"},
	"regexp":          {"Compile*"},
	"strconv":         {"Parse*", "Atoi", "Unquote"},
	"time":            {"Parse*"},

	"github.com/robfig/cron/v3":    {"Parse*"},
	"github.com/google/uuid":       {"Parse*"},
	"github.com/mholt/archives":    {"Extract", "OpenReader"},
	"gopkg.in/yaml.v3":             {"NewDecoder", "Unmarshal"},
	module + "packages/protocol":   {"Decode", "Unmarshal"},
	module + "packages/strictjson": {"Decode", "Scan"},
}

// methods parse, whatever they are called on.
var methods = []string{"AppendCertsFromPEM", "ReadJSON", "ReadMessage", "ReadForm", "ParseMultipartForm"}

// TestDecodersAreFuzzed: whoever adds a decoder adds a fuzz target, or says why not.
func TestDecodersAreFuzzed(t *testing.T) {
	t.Parallel()
	folders := map[string]*folder{}
	for _, top := range []string{"agent", "packages", "server"} {
		require.NoError(t, filepath.WalkDir(filepath.Join("..", top), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && d.Name() == "testdata" {
				return orSkip(err)
			}
			if d.IsDir() || !strings.HasSuffix(file, ".go") {
				return nil
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			return addFile(folders, strings.TrimPrefix(filepath.ToSlash(file), "../"), string(text))
		}))
	}
	decoders, targets := 0, 0
	for _, f := range folders {
		decoders += len(f.decoders())
		targets += len(f.targets())
	}
	require.Greater(t, decoders, 60, "the walk did not find the decoders")
	t.Logf("%d decoders, %d fuzz targets", decoders, targets)
	require.Empty(t, unfuzzed(folders))
}

func orSkip(err error) error {
	if err != nil {
		return err
	}
	return filepath.SkipDir
}

// TestDecodersAreFuzzed_finds shows the rule what it must find, and what it must let pass.
func TestDecodersAreFuzzed_finds(t *testing.T) {
	t.Parallel()
	const head = "package thing\n\nimport (\n\"encoding/json\"\n\"strconv\"\n\"testing\"\n)\n"
	for name, c := range map[string]struct {
		source, test string
		want         string // empty: nothing
	}{
		"no target":             {"func Parse(b []byte) { json.Unmarshal(b, nil) }", "", "Parse calls json.Unmarshal"},
		"called by a target":    {"func Parse(b []byte) { json.Unmarshal(b, nil) }", "func FuzzParse(f *testing.F) { f.Fuzz(func(_ *testing.T, b []byte) { Parse(b) }) }", ""},
		"called further down":   {"func Read(b []byte) { parse(b) }\nfunc parse(b []byte) { json.Unmarshal(b, nil) }", "func FuzzRead(f *testing.F) { help() }\nfunc help() { Read(nil) }", ""},
		"called by a test only": {"func Parse(b []byte) { json.Unmarshal(b, nil) }", "func TestParse(t *testing.T) { Parse(nil) }\nfunc FuzzOther(f *testing.F) {}", "no fuzz target"},
		"a method":              {"type T int\nfunc (T) Parse(s string) { strconv.Atoi(s) }", "func FuzzT(f *testing.F) { var t T; t.Parse(``) }", ""},
		"decodes itself":        {"type T int\nfunc (*T) UnmarshalText(b []byte) { strconv.Atoi(string(b)) }\nfunc Parse(b []byte) { json.Unmarshal(b, nil) }", "func FuzzT(f *testing.F) { Parse(nil) }", ""},
		"a constant":            {"func Limit() { strconv.Atoi(`5`) }", "", ""},
		"an excuse":             {"//fuzz:none the program wrote it itself\nfunc Parse(b []byte) { json.Unmarshal(b, nil) }", "", ""},
		"an excuse without why": {"//fuzz:none\nfunc Parse(b []byte) { json.Unmarshal(b, nil) }", "", "says not why"},
		"an excuse too many":    {"//fuzz:none the program wrote it itself\nfunc Parse(b []byte) {}", "", "needs no excuse"},
		"a target elsewhere":    {"//fuzz:by packages/thing.FuzzOther\nfunc Parse(b []byte) { json.Unmarshal(b, nil) }", "func FuzzOther(f *testing.F) {}", ""},
		"no target elsewhere":   {"//fuzz:by packages/thing.FuzzGone\nfunc Parse(b []byte) { json.Unmarshal(b, nil) }", "func FuzzOther(f *testing.F) {}", "there is no packages/thing.FuzzGone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folders := map[string]*folder{}
			require.NoError(t, addFile(folders, "packages/thing/thing.go", head+c.source))
			require.NoError(t, addFile(folders, "packages/thing/thing_test.go", head+c.test))
			found := unfuzzed(folders)
			if c.want == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Contains(t, found[0], c.want)
		})
	}
}

// folder is what one folder's functions call.
type folder struct {
	funcs map[string][]*function // by name; methods as "T.Name", to be found as ".Name", too
}

// function is a function, a method, or a variable of the package with what stands in its value.
type function struct {
	name, at string
	test     bool
	uses     []string // names of functions, and ".Name" of methods
	parser   string   // the first parser that it calls
	excuse   string
}

func addFile(folders map[string]*folder, file, text string) error {
	dir := path.Dir(file)
	if strings.HasSuffix(dir, "test") { // helpers of tests
		return nil
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, text, parser.ParseComments)
	if err != nil {
		return err
	}
	f := folders[dir]
	if f == nil {
		f = &folder{funcs: map[string][]*function{}}
		folders[dir] = f
	}
	imports := map[string]string{}
	for _, spec := range parsed.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(path.Base(target), ".v3")
		if name == "v3" || name == "v4" {
			name = path.Base(path.Dir(target))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imports[name] = target
	}
	add := func(name string, node ast.Node, doc *ast.CommentGroup) {
		fn := &function{name: name, at: fmt.Sprintf("%s:%d", file, set.Position(node.Pos()).Line), test: strings.HasSuffix(file, "_test.go")}
		fn.look(node, imports, module+dir)
		if doc != nil {
			for _, c := range doc.List {
				if rest, ok := strings.CutPrefix(c.Text, "//fuzz:"); ok {
					fn.excuse = rest
				}
			}
		}
		f.funcs[name] = append(f.funcs[name], fn)
	}
	for _, decl := range parsed.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = "." + name
			}
			add(name, d, d.Doc)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok && len(v.Values) > 0 {
					add(v.Names[0].Name, v, d.Doc)
				}
			}
		}
	}
	return nil
}

// look notes what a function calls or names.
func (fn *function) look(node ast.Node, imports map[string]string, own string) {
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			fn.uses = append(fn.uses, n.Name)
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && imports[x.Name] != "" {
				if imports[x.Name] == own { // the package's own test, from outside
					fn.uses = append(fn.uses, n.Sel.Name)
				}
				return false
			}
			fn.uses = append(fn.uses, "."+n.Sel.Name)
			ast.Inspect(n.X, func(x ast.Node) bool { return fn.inside(x, imports, own) })
			return false
		case *ast.CallExpr:
			fn.call(n, imports)
		}
		return true
	})
}

// inside looks at what a selector is applied to.
func (fn *function) inside(n ast.Node, imports map[string]string, own string) bool {
	if expr, ok := n.(ast.Expr); ok {
		fn.look(expr, imports, own)
	}
	return false
}

func (fn *function) call(c *ast.CallExpr, imports map[string]string) {
	sel, ok := c.Fun.(*ast.SelectorExpr)
	if !ok || fn.parser != "" {
		return
	}
	if slices.Contains(methods, sel.Sel.Name) {
		fn.parser = sel.Sel.Name
		return
	}
	root := sel.X
	for {
		switch x := root.(type) {
		case *ast.SelectorExpr: // base64.StdEncoding.DecodeString
			root = x.X
			continue
		case *ast.CompositeLit: // archives.Zip{}.Extract
			root = x.Type
			continue
		case *ast.ParenExpr:
			root = x.X
			continue
		}
		break
	}
	x, ok := root.(*ast.Ident)
	if !ok || len(c.Args) == 0 || constant(c.Args[0]) {
		return
	}
	for _, name := range parsers[imports[x.Name]] {
		if begin, any := strings.CutSuffix(name, "*"); sel.Sel.Name == name || any && strings.HasPrefix(sel.Sel.Name, begin) {
			fn.parser = x.Name + "." + sel.Sel.Name
			return
		}
	}
}

func constant(e ast.Expr) bool {
	_, ok := e.(*ast.BasicLit)
	return ok
}

func (f *folder) all() []*function {
	var all []*function
	for _, list := range f.funcs {
		all = append(all, list...)
	}
	return all
}

// decoders are the folder's functions that call a parser.
func (f *folder) decoders() []*function {
	return slices.DeleteFunc(f.all(), func(fn *function) bool { return fn.test || fn.parser == "" })
}

// targets are the names of the folder's fuzz targets.
func (f *folder) targets() []string {
	var names []string
	for _, fn := range f.all() {
		if fn.test && strings.HasPrefix(fn.name, "Fuzz") {
			names = append(names, fn.name)
		}
	}
	return names
}

// reached are the functions that a fuzz target comes to.
func (f *folder) reached() map[*function]bool {
	seen := map[*function]bool{}
	queue := f.targets()
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		for _, fn := range f.funcs[name] {
			if seen[fn] {
				continue
			}
			seen[fn] = true
			queue = append(queue, fn.uses...)
			if fn.parser != "" { // parsers call these by themselves
				queue = append(queue, ".UnmarshalText", ".UnmarshalJSON", ".UnmarshalYAML")
			}
		}
	}
	return seen
}

// unfuzzed lists what breaks the rule.
func unfuzzed(folders map[string]*folder) []string {
	known := map[string]bool{}
	for dir, f := range folders {
		for _, name := range f.targets() {
			known[dir+"."+name] = true
		}
	}
	var out []string
	for _, f := range folders {
		reached := f.reached()
		for _, fn := range f.all() {
			if fn.test {
				continue
			}
			kind, why, _ := strings.Cut(fn.excuse, " ")
			switch needs := fn.parser != "" && !reached[fn]; {
			case needs && fn.excuse == "":
				out = append(out, fmt.Sprintf("%s: %s calls %s and no fuzz target of this folder reaches it", fn.at, strings.TrimPrefix(fn.name, "."), fn.parser))
			case !needs && fn.excuse != "":
				out = append(out, fmt.Sprintf("%s: %s needs no excuse", fn.at, strings.TrimPrefix(fn.name, ".")))
			case kind == "by" && !known[why]:
				out = append(out, fmt.Sprintf("%s: there is no %s", fn.at, why))
			case kind == "none" && len(strings.Fields(why)) < 3, kind != "" && kind != "by" && kind != "none":
				out = append(out, fn.at+": the excuse says not why")
			}
		}
	}
	slices.Sort(out)
	return out
}
