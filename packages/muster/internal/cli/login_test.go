package cli_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func (d *desk) configFile() string { return filepath.Join(d.dir, ".config", "muster", "config.json") }

func (d *desk) passwordFile(password string) string {
	d.t.Helper()
	name := filepath.Join(d.dir, "password")
	require.NoError(d.t, os.WriteFile(name, []byte(password+"\n"), 0o600))
	return name
}

func TestLogin_withFingerprint(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := newDesk(t)
	shown := strings.ToUpper(f.fingerprint()[:2]) + ":" + f.fingerprint()[2:]
	out := d.ok("login", f.URL, "--username", "ada", "--password-file", d.passwordFile("correct horse"), "--ca-fingerprint", shown)
	require.Contains(t, out, "logged in to "+f.URL+" as ada")
	if runtime.GOOS != "windows" {
		info, err := os.Stat(d.configFile())
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	require.True(t, f.called("POST /logout"), "the session is not left open")
	require.Contains(t, d.ok("whoami"), "ada", "the CA and the token were kept")
	require.Contains(t, d.ok("whoami", "--json"), `"username": "ada"`)

	require.Contains(t, d.ok("logout"), "logged out")
	require.True(t, f.called("DELETE /api-tokens/t1"))
	saved, err := os.ReadFile(d.configFile())
	require.NoError(t, err)
	require.NotContains(t, string(saved), "mapi_")
	code, _, errs := d.run("whoami")
	require.Equal(t, 3, code)
	require.Contains(t, errs, "not logged in")
	require.Contains(t, d.ok("logout"), "not logged in")

	d.in = "correct horse\n"
	d.ok("login", f.URL, "--username", "ada", "--password-file", "-")
}

func TestLogin_neverTrustsSilently(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		terminal bool
		answer   string
		args     []string
		code     int
		says     string
	}{
		"script without fingerprint":  {false, "", nil, 3, "authority that is not trusted"},
		"wrong fingerprint":           {false, "", []string{"--ca-fingerprint", strings.Repeat("ab", 32)}, 3, "somebody is in between"},
		"malformed fingerprint":       {false, "", []string{"--ca-fingerprint", "abc"}, 2, "64 hex digits"},
		"person says no":              {true, "n\n", nil, 1, "nothing was done"},
		"person says nothing":         {true, "\n", nil, 1, "nothing was done"},
		"CA file of another":          {false, "", []string{"--ca-file", "testdata/other.pem"}, 3, "not trusted"},
		"CA file without certificate": {false, "", []string{"--ca-file", "testdata/empty.pem"}, 1, "no certificate"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			d := newDesk(t)
			d.terminal, d.in = c.terminal, c.answer
			args := append([]string{"login", f.URL, "--username", "ada", "--password-file", d.passwordFile("correct horse")}, c.args...)
			code, _, errs := d.run(args...)
			require.Equal(t, c.code, code, errs)
			require.Contains(t, errs, c.says)
			require.Contains(t, errs, "muster: ")
			require.Empty(t, f.passwords, "the password was not sent")
			require.NoFileExists(t, d.configFile())
		})
	}
}

func TestLogin_personComparesTheFingerprint(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := newDesk(t)
	d.terminal, d.in, d.password = true, "yes\n", "correct horse"
	code, _, errs := d.run("login", f.URL, "--username", "ada")
	require.Zero(t, code, errs)
	require.Contains(t, errs, f.fingerprint())
	require.NotContains(t, errs, "correct horse")
	d.terminal = false
	d.ok("whoami")
}

func TestLogin_wrongPassword(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := newDesk(t)
	code, _, errs := d.run("login", f.URL, "--username", "ada", "--password-file", d.passwordFile("guess"), "--ca-fingerprint", f.fingerprint())
	require.Equal(t, 3, code)
	require.Contains(t, errs, "wrong user name or password")
	require.NoFileExists(t, d.configFile())
}

func TestLogin_usage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for name, args := range map[string][]string{
		"no address":          {"login"},
		"clear text":          {"login", "http://muster.example.com", "--username", "a"},
		"other scheme":        {"login", "ftp://muster.example.com", "--username", "a"},
		"password in address": {"login", "https://a:b@muster.example.com", "--username", "a"},
		"no terminal":         {"login", "http://127.0.0.1:1", "--username", "a"},
		"no user":             {"login", "http://127.0.0.1:1"},
		"unknown flag":        {"login", "--insecure", "x"},
	} {
		code, _, errs := d.run(args...)
		require.Equal(t, 2, code, "%s: %s", name, errs)
		require.True(t, strings.HasPrefix(errs, "muster: "), errs)
		require.Equal(t, 1, strings.Count(errs, "\n"), "one line")
	}
}

func TestConnect_keepsTheTokenToItsServer(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := newDesk(t)
	d.ok("login", f.URL, "--username", "ada", "--password-file", d.passwordFile("correct horse"), "--ca-fingerprint", f.fingerprint())
	asked := false
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = true }))
	defer other.Close()
	code, _, errs := d.run("whoami", "--server", other.URL)
	require.Equal(t, 3, code)
	require.Contains(t, errs, "not logged in to "+other.URL)
	require.False(t, asked)
}

func TestConnect_doesNotFollowRedirects(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed") }))
	defer other.Close()
	first := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer first.Close()
	d := newDesk(t)
	d.env["MUSTER_SERVER"], d.env["MUSTER_TOKEN"] = first.URL, "mapi_x"
	code, _, errs := d.run("whoami")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "redirects to")
}

func TestConnect_errors(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	t.Cleanup(page.Close)
	cases := map[string]struct {
		change func(*desk)
		code   int
		says   string
	}{
		"not reachable":    {func(d *desk) { d.env["MUSTER_SERVER"] = gone.URL }, 3, "cannot reach"},
		"wrong token":      {func(d *desk) { d.env["MUSTER_TOKEN"] = "mapi_old" }, 3, "log in with"},
		"unknown CA":       {func(d *desk) { d.env["MUSTER_CA"] = "" }, 3, "not trusted"},
		"another name":     {func(d *desk) { d.env["MUSTER_SERVER"] = strings.Replace(f.URL, "127.0.0.1", "localhost", 1) }, 3, "does not verify"},
		"not a server":     {func(d *desk) { d.env["MUSTER_SERVER"] = page.URL }, 1, "not of a Muster server"},
		"no server at all": {func(d *desk) { d.env["MUSTER_SERVER"] = "" }, 2, "log in first"},
		"damaged file":     {func(d *desk) { d.config(`{"server":`, 0o600) }, 1, "not a configuration"},
		"unknown key":      {func(d *desk) { d.config(`{"srever":"x"}`, 0o600) }, 1, "srever"},
		"others read":      {func(d *desk) { d.config(`{}`, 0o644) }, 1, "others may read it"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := at(t, f)
			c.change(d)
			code, out, errs := d.run("whoami")
			require.Equal(t, c.code, code, errs)
			require.Contains(t, errs, c.says)
			require.Empty(t, out)
			require.Equal(t, 1, strings.Count(errs, "\n"), "one line")
		})
	}
}

func (d *desk) config(text string, mode os.FileMode) {
	d.t.Helper()
	require.NoError(d.t, os.MkdirAll(filepath.Dir(d.configFile()), 0o700))
	require.NoError(d.t, os.WriteFile(d.configFile(), []byte(text), mode))
	require.NoError(d.t, os.Chmod(d.configFile(), mode))
}
