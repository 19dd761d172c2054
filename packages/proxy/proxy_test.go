package proxy_test

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/proxy"
)

// asked makes the test binary print what it finds: the environment is read once per process.
const asked = "MUSTER_TEST_PROXY"

func TestMain(m *testing.M) {
	if os.Getenv(asked) == "" {
		os.Exit(m.Run())
	}
	req, _ := http.NewRequest(http.MethodGet, "https://muster.example.org:8443/", nil)
	u, err := proxy.FromEnvironment(req)
	switch {
	case err != nil:
		_, _ = os.Stdout.WriteString(err.Error())
	case u == nil:
		_, _ = os.Stdout.WriteString("none")
	default:
		_, _ = os.Stdout.WriteString(u.String())
	}
	os.Exit(0)
}

func TestFromEnvironment(t *testing.T) {
	t.Parallel()
	for env, want := range map[string]string{
		"HTTPS_PROXY=":                                    "none",
		"HTTPS_PROXY=http://u:p@10.0.0.1:3128":            "http://u:p@10.0.0.1:3128",
		"HTTPS_PROXY=10.0.0.1:3128":                       "http://10.0.0.1:3128",
		"HTTPS_PROXY=socks5://10.0.0.1:1080":              "socks5://10.0.0.1:1080",
		"https_proxy=http://10.0.0.1:3128":                "http://10.0.0.1:3128",
		"HTTP_PROXY=http://10.0.0.1:3128":                 "none",
		"HTTPS_PROXY=https://u:secret@proxy.example:3129": "HTTPS_PROXY names the https:// proxy proxy.example:3129, which cannot be used here",
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{asked + "=1", env}
		out, err := cmd.Output()
		require.NoError(t, err, env)
		require.Contains(t, string(out), want, env)
		require.NotContains(t, string(out), "secret", env)
	}
}

func TestConnected(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("http://user:secret@10.0.0.1:3128")
	require.NoError(t, err)
	for status, want := range map[int]string{200: "", 407: "wants a user name and a password", 502: "the proxy 10.0.0.1:3128 answers 502 x"} {
		err := proxy.Connected(t.Context(), u, nil, &http.Response{StatusCode: status, Status: "502 x"})
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
		require.True(t, fault.Retryable(err))
		require.NotContains(t, err.Error(), "secret")
	}
}
