package config_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/config"
)

func TestDefault_isValid(t *testing.T) {
	t.Parallel()
	require.NoError(t, config.Default().Validate())
}

func TestLoad_goodFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.good.*")
	require.NoError(t, err)
	require.Len(t, files, 3)
	for _, file := range files {
		c, err := config.Load(file, nil, nil)
		require.NoError(t, err, file)
		require.NoError(t, c.Validate(), file)
	}
	c, err := config.Load("testdata/full.good.yml", nil, nil)
	require.NoError(t, err)
	require.Equal(t, config.Config{
		Data: "/srv/muster", Name: "roll call", Listen: ":9443", Metrics: "127.0.0.1:9090",
		Database:       "mysql://muster:secret@db.example.org:3306/muster?tls=true",
		PublicURLs:     []string{"https://muster.example.org:9443", "https://[2001:db8::7]:9443"},
		TrustedProxies: []string{"10.0.0.0/8"}, Log: config.Log{Level: "debug", Format: "json"},
		Events: config.Events{DiskLowPercent: 5, SilentAfter: "36h", Keep: "30d"},
		Logs:   config.Logs{Keep: "7d", LinesPerDevice: 5000},

		Retention: config.Retention{GoneDevices: "14d", FinishedTasks: "365d"},
	}, c)
	silent, keep := c.Events.Times()
	require.Equal(t, 36*time.Hour, silent)
	require.Equal(t, 30*24*time.Hour, keep)
	require.Equal(t, 7*24*time.Hour, c.Logs.Time())
	goneDevices, finishedTasks := c.Retention.Times()
	require.Equal(t, []time.Duration{14 * 24 * time.Hour, 365 * 24 * time.Hour}, []time.Duration{goneDevices, finishedTasks})
	require.Equal(t, slog.LevelDebug, c.LogLevel())
	require.Len(t, c.Proxies(), 1)
	require.Equal(t, c.Database, c.DatabaseURL())
}

func TestLoad_badFiles(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"unknown.bad.yml": "field lissten not found",
		"twice.bad.yml":   "already defined",
		"type.bad.yml":    "cannot unmarshal",
		"two.bad.yml":     "more than one document",
		"broken.bad.yml":  "found unexpected end of stream",
		"nested.bad.json": "field levle not found",
		"missing.yml":     "no such file",
	} {
		_, err := config.Load(filepath.Join("testdata", file), nil, nil)
		require.ErrorContains(t, err, want, file)
		require.ErrorContains(t, err, file)
	}
}

func TestValidate_listsAllProblems(t *testing.T) {
	t.Parallel()
	c, err := config.Load("testdata/values.bad.yml", nil, nil)
	require.NoError(t, err)
	err = c.Validate()
	for _, want := range []string{
		"data: name the directory", "name: give the server a name", `listen: "8443" is not an address`,
		`http: "0.0.0.0:8080" is open to other computers`, `metrics: "nowhere"`, `public_urls: "http://plain.example.org"`,
		`public_urls: "https://x/path"`, `trusted_proxies: "10.0.0.1"`, `log.level: "loud"`, `log.format: "xml"`,
		"events.disk_low_percent: 0", `events.silent_after: "5s"`, `events.keep: "forever"`,
		`logs.keep: "5m"`, "logs.lines_per_device: 0",
		`retention.gone_devices: "1h"`, `retention.finished_tasks: "never"`,
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestLoad_laterLayersWin(t *testing.T) {
	t.Parallel()
	vars := map[string]string{
		"MUSTER_LISTEN": ":2", "MUSTER_HTTP": "", "MUSTER_PUBLIC_URLS": "https://a:1, https://b:2,",
		"MUSTER_LOG_LEVEL": "warn", "MUSTER_OTHER": "x",
	}
	env := func(k string) (string, bool) { v, ok := vars[k]; return v, ok }
	c, err := config.Load("testdata/full.good.yml", env, func(c *config.Config) { c.Listen = ":3" })
	require.NoError(t, err)
	require.Equal(t, ":3", c.Listen)
	require.Empty(t, c.HTTP)
	require.Equal(t, []string{"https://a:1", "https://b:2"}, c.PublicURLs)
	require.Equal(t, "warn", c.Log.Level)
	require.Equal(t, "json", c.Log.Format)
}

func TestDatabaseURL_defaultsToTheDataDirectory(t *testing.T) {
	t.Parallel()
	require.Equal(t, "sqlite:///srv/a%20b/muster.db", config.Config{Data: "/srv/a b"}.DatabaseURL())
}

func TestURLs(t *testing.T) {
	t.Parallel()
	c := config.Config{}
	require.Equal(t, []string{"https://127.0.0.1:7"}, c.URLs(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7}))
	all := c.URLs(&net.TCPAddr{IP: net.IPv6unspecified, Port: 7})
	require.Equal(t, "https://localhost:7", all[len(all)-1])
	c.PublicURLs = []string{"https://x"}
	require.Equal(t, c.PublicURLs, c.URLs(&net.TCPAddr{Port: 7}))
}

// A configuration is refused with what is wrong, or everything that is made of it works.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("listen: x"))
	f.Add([]byte("public_urls: [https://a.example, 'https://b:1/']\ntrusted_proxies: [10.0.0.0/8]\nlog: {level: debug}"))
	f.Add([]byte("public_urls: ['https://m\u00fcster.example']"))
	f.Add([]byte("http: ':80'\nname: ''"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.DecodeBytes(data)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.CodeOf(err))
			return
		}
		require.Len(t, c.Proxies(), len(c.TrustedProxies))
		urls := c.URLs(&net.TCPAddr{IP: net.IPv6unspecified, Port: 7})
		require.NotEmpty(t, urls)
		for _, raw := range urls {
			u, err := url.Parse(raw)
			require.NoError(t, err)
			_, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{u.Hostname()}}, key)
			require.NoError(t, err, "%q fits no certificate", raw)
		}
	})
}

var key = func() ed25519.PrivateKey {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	return key
}()
