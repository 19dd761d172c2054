package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Exit codes of muster, for scripts.
const (
	exitFailed      = 1 // the request was refused, or a deployment failed
	exitUsage       = 2
	exitUnreachable = 3 // or not logged in
	exitTimeout     = 4
)

// TestCommandLine_badInput: whatever is wrong, muster says it in one clear sentence on standard error,
// writes nothing to standard output, and exits with a code that scripts can use.
func TestCommandLine_badInput(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	s.musterEnv(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	text := write("notes.tar.gz", "this is no archive, whatever its name says\n")
	archive := write("good.tar.gz", string(tarGz(t, script("run.sh", "exit 0"))))
	broken := write("broken.json", "{")
	absent := "01900000-0000-7000-8000-000000000000"
	unreachable := []string{"MUSTER_SERVER=https://127.0.0.1:" + freePort(t), "MUSTER_TOKEN=mapi_" + strings.Repeat("0", 64)}
	create := func(more ...string) []string {
		return append([]string{"package", "create", "--name", "x", "--version", "1", "--no-sign"}, more...)
	}

	for name, c := range map[string]struct {
		args []string
		env  []string
		conf string // --config, if not the logged-in one
		code int
		want string // in the sentence
	}{
		"no such command":         {args: []string{"packages"}, code: exitUsage, want: "packages"},
		"no such flag":            {args: []string{"device", "list", "--colour"}, code: exitUsage, want: "--colour"},
		"missing argument":        {args: []string{"package", "show"}, code: exitUsage},
		"surplus argument":        {args: []string{"trust", "show", "me"}, code: exitUsage},
		"absent package":          {args: []string{"package", "show", absent}, code: exitFailed, want: absent},
		"not an id":               {args: []string{"deployment", "show", "seven"}, code: exitFailed},
		"absent device":           {args: []string{"wakeup", absent}, code: exitFailed},
		"no such action":          {args: create("--action", "explode", "--", "x"), code: exitFailed, want: "explode"},
		"priority too high":       {args: create("--action", "execute", "--priority", "11", "--", "x"), code: exitFailed, want: "11"},
		"priority is a word":      {args: create("--action", "execute", "--priority", "high", "--", "x"), code: exitUsage, want: "high"},
		"launch without archive":  {args: create("--action", "launch", "--", "run.sh"), code: exitFailed, want: "archive"},
		"not an archive":          {args: create("--action", "launch", text, "--", "run.sh"), code: exitFailed, want: "zip"},
		"absent archive":          {args: create("--action", "launch", filepath.Join(dir, "none.zip"), "--", "run.sh"), code: exitFailed, want: "none.zip"},
		"not in the archive":      {args: create("--action", "launch", archive, "--", "other.sh"), code: exitFailed, want: "other.sh"},
		"relative store path":     {args: create("--action", "store", archive, "--store-path", "here"), code: exitFailed, want: "here"},
		"over-long name":          {args: []string{"package", "create", "--name", strings.Repeat("x", 200), "--version", "1", "--action", "execute", "--", "x"}, code: exitFailed, want: "120"},
		"server not there":        {args: []string{"device", "list"}, env: unreachable, conf: "none", code: exitUnreachable, want: "127.0.0.1"},
		"not logged in":           {args: []string{"device", "list"}, conf: filepath.Join(dir, "absent.json"), code: exitUsage, want: "login"},
		"damaged configuration":   {args: []string{"device", "list"}, conf: broken, code: exitFailed, want: "broken.json"},
		"wrong token":             {args: []string{"device", "list"}, env: []string{"MUSTER_TOKEN=mapi_" + strings.Repeat("0", 64)}, code: exitUnreachable},
		"wrong password":          {args: []string{"login", s.url, "--username", "admin", "--password-file", write("wrong", "wrong\n"), "--ca-fingerprint", s.caHash}, conf: filepath.Join(dir, "new.json"), code: exitUnreachable},
		"wrong CA fingerprint":    {args: []string{"login", s.url, "--username", "admin", "--password-file", text, "--ca-fingerprint", strings.Repeat("0", 64)}, conf: filepath.Join(dir, "new2.json"), code: exitUnreachable, want: "fingerprint"},
		"malformed fingerprint":   {args: []string{"login", s.url, "--username", "admin", "--password-file", text, "--ca-fingerprint", "xyz"}, conf: filepath.Join(dir, "new3.json"), code: exitUsage, want: "fingerprint"},
		"address without a host":  {args: []string{"login", "https://", "--username", "admin", "--password-file", text}, conf: filepath.Join(dir, "new4.json"), code: exitUsage},
		"assign to nobody":        {args: []string{"assign", "--package", absent}, code: exitUsage},
		"token that is not there": {args: []string{"enrollment-token", "revoke", absent}, code: exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf := s.config
			if c.conf == "none" {
				conf = filepath.Join(t.TempDir(), "none.json")
			} else if c.conf != "" {
				conf = c.conf
			}
			r := command(t, c.env, "muster", append([]string{"--config", conf}, c.args...)...)
			require.Equal(t, c.code, r.code, "%s%s", r.stdout, r.stderr)
			require.Empty(t, r.stdout)
			sentence := strings.TrimSpace(r.stderr)
			require.NotEmpty(t, sentence)
			require.LessOrEqual(t, strings.Count(sentence, "\n"), 0, "more than one line: %s", sentence)
			require.Contains(t, sentence, c.want)
			for _, ugly := range []string{"panic", "goroutine", "0x", "<nil>", "%!"} {
				require.NotContains(t, sentence, ugly)
			}
		})
	}
}

// TestCommandLine_wait: assign --wait ends 0 only if every deployment succeeded.
func TestCommandLine_wait(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := startAgent(t, s)
	run := func(name, shell string, more ...string) result {
		id := s.offer(t, spec{Name: name, Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", shell}})
		return s.muster(t, append([]string{"assign", "--package", id, "--device", a.device, "--wait"}, more...)...)
	}
	r := run("good", "exit 0")
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stdout, "succeeded (exit code 0)")
	r = run("bad", "exit 7")
	require.Equal(t, exitFailed, r.code, r.stderr)
	require.Contains(t, r.stdout+r.stderr, "exit code 7")
	r = run("slow", "exec sleep 30", "--timeout", "1s")
	require.Equal(t, exitTimeout, r.code, r.stderr)
}

// TestCommandLine_json: with --json, standard output is JSON and nothing else, for every list.
func TestCommandLine_json(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	for _, args := range [][]string{
		{"device", "list"}, {"package", "list"}, {"deployment", "list"}, {"enrollment-token", "list"}, {"trust", "show"},
	} {
		r := s.muster(t, append([]string{"--json"}, args...)...)
		require.Zero(t, r.code, "%v: %s", args, r.stderr)
		require.True(t, json.Valid([]byte(r.stdout)), "%v: %s", args, r.stdout)
		require.Empty(t, r.stderr)
	}
}

// TestCommandLine_author: an author's own key, made by keygen, is not trusted by a new server: signing
// with it is refused with the reason, and nothing becomes active.
func TestCommandLine_author(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	key := filepath.Join(t.TempDir(), "author.pem")
	r := s.muster(t, "keygen", key)
	require.Zero(t, r.code, r.stderr)
	info, err := os.Stat(key)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	r = s.muster(t, "keygen", key)
	require.Equal(t, exitFailed, r.code, "an existing key is never overwritten")

	file := filepath.Join(t.TempDir(), "a.tar.gz")
	require.NoError(t, os.WriteFile(file, tarGz(t, script("run.sh", "exit 0")), 0o600))
	id := s.createPackage(t, "--name", "mine", "--version", "1", "--action", "launch", "--no-sign", file, "--", "run.sh")
	r = s.muster(t, "package", "sign", id, "--key", key, "--archive", file, "--yes")
	require.Equal(t, exitFailed, r.code, r.stdout)
	r = s.muster(t, "package", "activate", id)
	require.Equal(t, exitFailed, r.code, "an unsigned package is not offered")
}
