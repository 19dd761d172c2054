package e2e_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// maxNotRun bounds how many blocks of all documents may be excused from being run.
const maxNotRun = 6

// block is a fenced block of a document, marked sh:
//
//	```sh                    is run, and must end with exit code 0
//	```sh stays=TEXT         is started, must write TEXT, and must end cleanly when asked to
//	```sh no-run=REASON      is not run; REASON has dashes for spaces
//
// The blocks of one document run in their order, in one folder.
type block struct {
	file   string
	line   int
	text   string
	stays  string
	excuse string
}

// TestDocuments runs every command line of README.md and docs/.
func TestDocuments(t *testing.T) {
	t.Parallel()
	var excused []block
	for file, blocks := range documents(t) {
		var runnable []block
		for _, b := range blocks {
			if b.excuse != "" {
				excused = append(excused, b)
				continue
			}
			runnable = append(runnable, b)
		}
		if len(runnable) > 0 {
			t.Run(file, func(t *testing.T) {
				t.Parallel()
				runDocument(t, runnable)
			})
		}
	}
	for _, b := range excused {
		t.Logf("not run: %s:%d: %s", b.file, b.line, strings.ReplaceAll(b.excuse, "-", " "))
	}
	require.LessOrEqual(t, len(excused), maxNotRun, "too many command lines that no test runs")
}

func documents(t *testing.T) map[string][]block {
	t.Helper()
	found := map[string][]block{}
	add := func(path string) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		name, err := filepath.Rel("../..", path)
		require.NoError(t, err)
		blocks, err := extract(name, string(text))
		require.NoError(t, err)
		found[name] = blocks
	}
	add("../../README.md")
	require.NoError(t, filepath.WalkDir("../../docs", func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" {
			add(path)
		}
		return err
	}))
	return found
}

func extract(file, text string) ([]block, error) {
	var blocks []block
	var open *block
	fenced := false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "```") && fenced:
			if open != nil {
				blocks = append(blocks, *open)
			}
			open, fenced = nil, false
		case strings.HasPrefix(line, "```"):
			fenced = true
			words := strings.Fields(strings.TrimPrefix(line, "```"))
			if len(words) == 0 || words[0] != "sh" {
				continue
			}
			open = &block{file: file, line: i + 2}
			for _, word := range words[1:] {
				key, value, _ := strings.Cut(word, "=")
				switch {
				case key == "stays" && value != "":
					open.stays = strings.ReplaceAll(value, "-", " ")
				case key == "no-run" && value != "":
					open.excuse = value
				default:
					return nil, fmt.Errorf("%s:%d: a block is marked %q; known are stays=TEXT and no-run=REASON", file, i+1, word)
				}
			}
		case open != nil:
			open.text += line + "\n"
		}
	}
	if fenced {
		return nil, fmt.Errorf("%s: a fenced block is not closed", file)
	}
	return blocks, nil
}

func runDocument(t *testing.T, blocks []block) {
	t.Helper()
	dir := t.TempDir()
	bin, err := filepath.Abs(programs)
	require.NoError(t, err)
	repository, err := filepath.Abs("../..")
	require.NoError(t, err)
	values := placeholders(t, dir)
	env := append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH")+":/usr/sbin:/sbin", "HOME="+dir, "XDG_CONFIG_HOME="+dir)
	for _, b := range blocks {
		text := values.Replace(b.text)
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", text)
		cmd.Dir, cmd.Env = dir, env
		if strings.HasPrefix(text, "make ") {
			cmd.Dir = repository
		}
		if b.stays != "" {
			stayAndStop(t, b, text, cmd)
			continue
		}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s:%d:\n%s\n%s", b.file, b.line, text, out)
	}
}

// placeholders stand in documents for what every reader has otherwise. For a document they mean one
// server with a device, an offered package and a deployment.
func placeholders(t *testing.T, dir string) *strings.Replacer {
	t.Helper()
	port, httpPort := freePort(t), freePort(t)
	return strings.NewReplacer(
		"https://muster.example.com:8443", "https://127.0.0.1:"+port,
		"http://localhost:8080", "http://localhost:"+httpPort,
		"localhost:8080", "localhost:"+httpPort,
		":8443", "127.0.0.1:"+port,
		"/var/lib/muster-server", filepath.Join(dir, "server"),
		"/var/lib/muster-agent", filepath.Join(dir, "agent"),
		"/srv/backup", dir,
	)
}

// stayAndStop runs a program that stays, until it says that it is there.
func stayAndStop(t *testing.T, b block, text string, cmd *exec.Cmd) {
	t.Helper()
	cmd.Args[len(cmd.Args)-1] = "exec " + strings.TrimSpace(text)
	p := startCommand(t, cmd)
	await(t, fmt.Sprintf("%q of %s:%d", b.stays, b.file, b.line), func() (bool, string) {
		require.True(t, p.running() || strings.Contains(p.output(), b.stays), "%s:%d ended: %s", b.file, b.line, p.output())
		return strings.Contains(p.output(), b.stays), p.output()
	})
	p.stop(t)
}

func TestExtract(t *testing.T) {
	t.Parallel()
	const text = "a\n```sh\nmake help\n```\n```\nnot this\n```\n```sh stays=is-there\nrun\nit\n```\n```sh no-run=takes-long\nx\n```\n"
	blocks, err := extract("x.md", text)
	require.NoError(t, err)
	require.Equal(t, []block{
		{file: "x.md", line: 3, text: "make help\n"},
		{file: "x.md", line: 9, text: "run\nit\n", stays: "is there"},
		{file: "x.md", line: 13, text: "x\n", excuse: "takes-long"},
	}, blocks)

	_, err = extract("x.md", "```sh norun\n```\n")
	require.ErrorContains(t, err, "x.md:1")
	_, err = extract("x.md", "```sh\nnever closed\n")
	require.ErrorContains(t, err, "not closed")
}
