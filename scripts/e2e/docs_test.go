package e2e_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// maxNotRun bounds how many blocks of all documents may be excused from being run.
const maxNotRun = 6

// block is a fenced block of a document, marked sh:
//
//	```sh                    is run, line by line; each must end with exit code 0
//	```sh stays=TEXT         is started, must write TEXT, and must end cleanly when asked to, later
//	```sh stopped            is run after all that stays was asked to end
//	```sh no-run=REASON      is not run
//
// TEXT and REASON have dashes for spaces. The blocks of one document run in their order, in one folder.
type block struct {
	file    string
	line    int
	text    string
	stays   string
	stopped bool
	excuse  string
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
				case word == "stopped":
					open.stopped = true
				case key == "stays" && value != "":
					open.stays = strings.ReplaceAll(value, "-", " ")
				case key == "no-run" && value != "":
					open.excuse = value
				default:
					return nil, fmt.Errorf("%s:%d: a block is marked %q; known are stays=TEXT, stopped and no-run=REASON", file, i+1, word)
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

// reader works through one document as a reader would, with what every reader has otherwise: a server
// of their own, and the ids and secrets that earlier commands printed.
type reader struct {
	dir     string
	env     []string
	port    string
	values  *strings.Replacer
	staying []*process
	printed string
}

func runDocument(t *testing.T, blocks []block) {
	t.Helper()
	bin, err := filepath.Abs(programs)
	require.NoError(t, err)
	dir, port, httpPort := t.TempDir(), freePort(t), freePort(t)
	r := &reader{dir: dir, port: port, values: strings.NewReplacer(
		"https://muster.example.com:8443", "https://127.0.0.1:"+port,
		"localhost:8080", "localhost:"+httpPort,
		":8443", "127.0.0.1:"+port,
		"/var/lib/muster-", dir+"/muster-",
		"/srv/backup", dir,
	)}
	r.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH")+":/usr/sbin:/sbin", "HOME="+dir, "XDG_CONFIG_HOME="+filepath.Join(dir, ".config"))
	for _, b := range blocks {
		switch {
		case b.stays != "":
			r.stay(t, b)
		case b.stopped:
			r.stop(t)
			r.run(t, b)
		default:
			r.run(t, b)
		}
	}
	r.stop(t)
}

func (r *reader) run(t *testing.T, b block) {
	t.Helper()
	for line := range strings.Lines(b.text) {
		text := r.fill(t, line)
		cmd := r.command(text)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s:%d: %s\n%s", b.file, b.line, text, out)
		r.printed += string(out)
	}
}

func (r *reader) command(text string) *exec.Cmd {
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", text)
	cmd.Dir, cmd.Env = r.dir, r.env
	if strings.HasPrefix(text, "make ") {
		cmd.Dir = "../.."
	}
	return cmd
}

// stay starts a program that stays, and waits until it says that it is there.
func (r *reader) stay(t *testing.T, b block) {
	t.Helper()
	p := startCommand(t, r.command("exec "+strings.TrimSpace(r.fill(t, b.text))))
	r.staying = append(r.staying, p)
	await(t, fmt.Sprintf("%q of %s:%d", b.stays, b.file, b.line), func() (bool, string) {
		require.True(t, p.running(), "%s:%d ended: %s", b.file, b.line, p.output())
		return strings.Contains(p.output(), b.stays), p.output()
	})
}

func (r *reader) stop(t *testing.T) {
	t.Helper()
	for _, p := range slices.Backward(r.staying) {
		p.stop(t)
	}
	r.staying = nil
}

// fill replaces what a document writes for what only its reader knows.
func (r *reader) fill(t *testing.T, text string) string {
	t.Helper()
	text = r.values.Replace(text)
	if strings.Contains(text, "CA_FINGERPRINT") {
		_, hash := caOf(t, "127.0.0.1:"+r.port)
		text = strings.ReplaceAll(text, "CA_FINGERPRINT", hash)
	}
	if strings.Contains(text, "MUSTER1-ENROLLMENT") {
		found := regexp.MustCompile(`MUSTER1-[A-Za-z0-9_-]+`).FindString(r.printed)
		require.NotEmpty(t, found, "no command before printed an enrollment string: %s", r.printed)
		text = strings.ReplaceAll(text, "MUSTER1-ENROLLMENT", found)
	}
	for _, kind := range []string{"package", "device", "deployment"} {
		word := strings.ToUpper(kind) + "_ID"
		if !strings.Contains(text, word) {
			continue
		}
		out, err := r.command("muster --json " + kind + " list").Output()
		require.NoError(t, err)
		id := regexp.MustCompile(`"id": *"([0-9a-f-]{36})"`).FindSubmatch(out)
		require.NotNil(t, id, "no %s yet: %s", kind, out)
		text = strings.ReplaceAll(text, word, string(id[1]))
	}
	return text
}

func TestExtract(t *testing.T) {
	t.Parallel()
	const text = "a\n```sh\nmake help\n```\n```\nnot this\n```\n```sh stays=is-there\nrun\nit\n```\n```sh no-run=takes-long\nx\n```\n"
	blocks, err := extract("x.md", text+"```sh stopped\ny\n```\n")
	require.NoError(t, err)
	require.Equal(t, []block{
		{file: "x.md", line: 3, text: "make help\n"},
		{file: "x.md", line: 9, text: "run\nit\n", stays: "is there"},
		{file: "x.md", line: 13, text: "x\n", excuse: "takes-long"},
		{file: "x.md", line: 16, text: "y\n", stopped: true},
	}, blocks)

	_, err = extract("x.md", "```sh norun\n```\n")
	require.ErrorContains(t, err, "x.md:1")
	_, err = extract("x.md", "```sh\nnever closed\n")
	require.ErrorContains(t, err, "not closed")
}
