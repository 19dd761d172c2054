package local

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/fragments"
	"github.com/muster/muster/agent/internal/logfile"
	"github.com/muster/muster/packages/certificate"
	"github.com/muster/muster/packages/unabletest"
)

const (
	deviceID  = "0198f0aa-1111-7222-8333-444455556666"
	packageID = "0198f0aa-aaaa-7bbb-8ccc-ddddeeeeffff"
	patience  = time.Minute
)

// bench is a Listener that runs, with a device's data around it.
type bench struct {
	*Listener
	data    string
	address string

	mu     sync.Mutex
	woken  []string
	logged bytes.Buffer
}

func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.logged.Write(p)
}

func (b *bench) wakeups() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string{}, b.woken...)
}

func (b *bench) log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.logged.String()
}

// newBench runs a Listener. Rates are out of the way unless change sets them.
func newBench(t *testing.T, conf config.Listener, change func(*Listener)) *bench {
	t.Helper()
	b := &bench{data: t.TempDir()}
	conf.Enabled = true
	file := logfile.New(b.data, 1<<20, 2)
	_, err := file.Write([]byte("2026-01-02T03:04:05.678Z [core][INFO] a line\n"))
	require.NoError(t, err)
	require.NoError(t, file.Close())
	b.Listener = New(Options{
		DataDir: b.data, Config: conf,
		DeviceIDs: func() []string { return []string{"", deviceID} },
		Wake: func(id string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.woken = append(b.woken, id)
		},
		Status: func() any { return map[string]string{"version": "1.2.3"} },
		Logger: slog.New(slog.NewTextHandler(b, nil)),
	})
	b.limits.rates = rates{burst: 1e9, perSecond: 1, sumBurst: 1e9, sumPerSecond: 1, wakeBurst: 1e9, wakePerSecond: 1}
	b.all = "127.0.0.1"
	if change != nil {
		change(b.Listener)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	require.Eventually(t, func() bool { s := b.State(); return len(s.Addresses) > 0 || s.Problem != "" }, patience, time.Millisecond)
	if s := b.State(); len(s.Addresses) > 0 {
		b.address = s.Addresses[0]
	}
	return b
}

// asLAN makes 127.0.0.1 a network.
func asLAN(l *Listener) { l.inside = func(netip.Addr) bool { return false } }

// pinned accepts the device's own certificate and no other.
func (b *bench) pinned() *tls.Config {
	pool := x509.NewCertPool()
	if text, err := os.ReadFile(filepath.Join(b.data, certificateFile)); err == nil {
		pool.AppendCertsFromPEM(text)
	}
	return &tls.Config{RootCAs: pool, ServerName: certificateName, MinVersion: tls.VersionTLS12}
}

// raw sends bytes and reads the answer.
func (b *bench) raw(t *testing.T, lan bool, text string) *http.Response {
	t.Helper()
	c, err := net.Dial("tcp", b.address)
	require.NoError(t, err)
	if lan {
		c = tls.Client(c, b.pinned())
	}
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(c, text)
	require.NoError(t, err)
	method, _, _ := strings.Cut(text, " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp
}

func bodyOf(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(b)
}

// get is a request line for a path, addressed to this computer.
func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" }

func digestOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// Contents of the planted files.
const (
	shared  = "a shared fragment"
	second  = "another shared fragment"
	private = "a private fragment"
	secret  = "the device's secret"
)

// plant lays out what a device has, with traps of every kind.
func plant(t *testing.T, data string) {
	t.Helper()
	put := func(path, content string) {
		path = filepath.Join(data, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	dir := fragments.Dir(data, false)
	rel, err := filepath.Rel(data, dir)
	require.NoError(t, err)
	relPrivate, err := filepath.Rel(data, fragments.Dir(data, true))
	require.NoError(t, err)
	put("identity.json", secret)
	for _, content := range []string{shared, second} {
		put(filepath.Join(rel, digestOf(content)), content)
	}
	put(filepath.Join(rel, digestOf("half of it")+fragments.Part), "half")
	put(filepath.Join(rel, "notes"), "no fragment")
	put(filepath.Join(relPrivate, digestOf(private)), private)
	require.NoError(t, os.Mkdir(filepath.Join(dir, digestOf("a folder")), 0o700))
	for name, target := range map[string]string{
		"link out": filepath.Join(data, "identity.json"), "link up": "../identity.json",
		"link private": filepath.Join("..", relPrivate, digestOf(private)), "link inside": digestOf(shared), "link nowhere": "none",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, digestOf(name))))
	}
	require.NoError(t, fragments.WriteList(data, packageID, []string{digestOf(shared), digestOf(second), digestOf(private), digestOf("link out"), "../../identity.json" + strings.Repeat("x", 45)}))
}

// Every request that is allowed and every one that is refused, as it looks from loopback and from the network.
func TestRequests(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		unabletest.Skip(t, "symbolic links need rights there")
	}
	const none = 0 // the same as on loopback
	escaped := func(s string) string { return "%" + hex.EncodeToString([]byte{s[0]}) + s[1:] }
	file := func(n string) string { return "/" + packageID + "/" + packageID + "-" + n }
	cases := map[string]struct {
		request   string // with a path only: get
		want, lan int
		body      string
	}{
		"status":                       {"/status", 200, none, "1.2.3"},
		"status by query":              {"/?action=status", 200, none, "1.2.3"},
		"status is only read":          {"POST /status HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, 403, ""},
		"head of status":               {"HEAD /status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200, none, ""},
		"wakeup":                       {"/wakeup?deviceid=" + deviceID, 200, none, "checking in"},
		"wakeup posted":                {"POST /wakeup?deviceid=" + deviceID + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200, none, "checking in"},
		"wakeup by query":              {"/?action=wakeup&deviceid=" + deviceID, 200, none, "checking in"},
		"wakeup by query, second ?":    {"/?action=wakeup?deviceid=" + deviceID, 200, none, "checking in"},
		"wakeup by head":               {"HEAD /wakeup?deviceid=" + deviceID + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405, none, ""},
		"wakeup of another device":     {"/wakeup?deviceid=0198f0aa-1111-7222-8333-444455556667", 403, none, "not a device id"},
		"wakeup without an id":         {"/wakeup", 403, none, ""},
		"wakeup of the empty id":       {"/wakeup?deviceid=", 403, none, ""},
		"wakeup with part of the id":   {"/wakeup?deviceid=" + deviceID[:20], 403, none, ""},
		"wakeup with the id in a body": {"POST /wakeup HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 45\r\n\r\ndeviceid=" + deviceID, 403, none, ""},
		"id twice":                     {"/wakeup?deviceid=x&deviceid=" + deviceID, 400, none, "twice"},
		"log":                          {"/log?deviceid=" + deviceID, 200, 403, "a line"},
		"log by query":                 {"/?action=log&deviceid=" + deviceID, 200, 403, "a line"},
		"log of another device":        {"/log?deviceid=x", 403, none, ""},
		"log without an id":            {"/log", 403, none, ""},

		"fragment":                    {"/fragments/" + digestOf(shared), 200, none, shared},
		"head of a fragment":          {"HEAD /fragments/" + digestOf(shared) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200, none, ""},
		"range":                       {"GET /fragments/" + digestOf(shared) + " HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=2-7\r\n\r\n", 206, none, "shared"},
		"range to the end":            {"GET /fragments/" + digestOf(shared) + " HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=9-\r\n\r\n", 206, none, "fragment"},
		"range behind the end":        {"GET /fragments/" + digestOf(shared) + " HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=900-\r\n\r\n", 416, none, ""},
		"not posted":                  {"POST /fragments/" + digestOf(shared) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405, none, ""},
		"not put":                     {"PUT /fragments/" + digestOf(shared) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405, none, ""},
		"not deleted":                 {"DELETE /fragments/" + digestOf(shared) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405, none, ""},
		"unknown fragment":            {"/fragments/" + digestOf("unknown"), 404, none, ""},
		"private fragment":            {"/fragments/" + digestOf(private), 404, none, ""},
		"half a fragment":             {"/fragments/" + digestOf("half of it"), 404, none, ""},
		"half a fragment by its name": {"/fragments/" + digestOf("half of it") + ".part", 404, none, ""},
		"other file":                  {"/fragments/notes", 404, none, ""},
		"folder":                      {"/fragments/" + digestOf("a folder"), 404, none, ""},
		"link out":                    {"/fragments/" + digestOf("link out"), 404, none, ""},
		"link up":                     {"/fragments/" + digestOf("link up"), 404, none, ""},
		"link to a private one":       {"/fragments/" + digestOf("link private"), 404, none, ""},
		"link inside":                 {"/fragments/" + digestOf("link inside"), 404, none, ""},
		"link nowhere":                {"/fragments/" + digestOf("link nowhere"), 404, none, ""},
		"no listing":                  {"/fragments/", 404, none, ""},
		"no listing either":           {"/fragments", 404, none, ""},
		"upper case":                  {"/fragments/" + strings.ToUpper(digestOf(shared)), 404, none, ""},
		"slash behind":                {"/fragments/" + digestOf(shared) + "/", 404, none, ""},
		"slash before":                {"/fragments//" + digestOf(shared), 404, none, ""},
		"two slashes":                 {"//fragments/" + digestOf(shared), 404, none, ""},
		"dot":                         {"/fragments/./" + digestOf(shared), 404, none, ""},
		"dot dot":                     {"/fragments/../identity.json", 404, none, ""},
		"dot dot and back":            {"/x/../fragments/" + digestOf(shared), 404, none, ""},
		"dot dot escaped":             {"/fragments/%2e%2e/identity.json", 404, none, ""},
		"dot dot slash escaped":       {"/fragments/..%2fidentity.json", 404, none, ""},
		"escaped twice":               {"/fragments/%252e%252e%252fidentity.json", 404, none, ""},
		"backslash":                   {"/fragments/..\\identity.json", 404, none, ""},
		"absolute path":               {"/fragments//etc/passwd", 404, none, ""},
		"escaped digest":              {"/fragments/" + escaped(digestOf(shared)), 404, none, ""},
		"escaped slash":               {"/fragments%2f" + digestOf(shared), 404, none, ""},
		"NUL":                         {"/fragments/" + digestOf(shared) + "%00", 404, none, ""},
		"NUL in the line":             {"/fragments/" + digestOf(shared) + "\x00", 400, none, ""},
		"space":                       {"/fragments/" + digestOf(shared) + "%20", 404, none, ""},
		"too long":                    {"/fragments/" + strings.Repeat("a", 6<<10), 431, none, ""},
		"identity":                    {"/identity.json", 404, none, ""},
		"root":                        {"/", 404, none, ""},
		"fragment in a query":         {"/fragments/?" + digestOf(shared), 404, none, ""},

		"download":                          {"/?action=download&file=" + file("1"), 200, none, shared},
		"download, second ?":                {"/?action=download?file=" + file("2"), 200, none, second},
		"download, escaped":                 {"/?action=download&file=" + strings.ReplaceAll(file("1"), "/", "%2F"), 200, none, shared},
		"download and more":                 {"/?action=download&file=" + file("1") + "&x=y", 200, none, shared},
		"download of a range":               {"GET /?action=download?file=" + file("1") + " HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=2-7\r\n\r\n", 206, none, "shared"},
		"download behind the list":          {"/?action=download&file=" + file("6"), 404, none, ""},
		"download of a private one":         {"/?action=download&file=" + file("3"), 404, none, ""},
		"download through a link":           {"/?action=download&file=" + file("4"), 404, none, ""},
		"download through a bad list":       {"/?action=download&file=" + file("5"), 404, none, ""},
		"download of number 0":              {"/?action=download&file=" + file("0"), 400, none, ""},
		"download of number -1":             {"/?action=download&file=" + file("-1"), 400, none, ""},
		"download of number 01":             {"/?action=download&file=" + file("01"), 400, none, ""},
		"download of a huge number":         {"/?action=download&file=" + file("99999999999999999999"), 400, none, ""},
		"download of a large number":        {"/?action=download&file=" + file("999999999"), 404, none, ""},
		"download of an unknown package":    {"/?action=download&file=" + strings.ReplaceAll(file("1"), "aaaa", "aaab"), 404, none, ""},
		"download of an OCS package":        {"/?action=download&file=/1700000000/1700000000-1", 400, none, ""},
		"download of two packages":          {"/?action=download&file=/" + packageID + "/" + deviceID + "-1", 400, none, ""},
		"download of a file":                {"/?action=download&file=/etc/passwd", 400, none, ""},
		"download of the info":              {"/?action=download&file=/" + packageID + "/info", 400, none, ""},
		"download upwards":                  {"/?action=download&file=/../../" + packageID + "-1", 400, none, ""},
		"download upwards behind":           {"/?action=download&file=" + file("1/../../identity.json"), 400, none, ""},
		"download without a file":           {"/?action=download", 400, none, ""},
		"download of nothing":               {"/?action=download&file=", 400, none, ""},
		"download with NUL":                 {"/?action=download&file=" + file("1") + "%00", 400, none, ""},
		"download, bad escape":              {"/?action=download&file=%zz", 400, none, ""},
		"download elsewhere":                {"/x?action=download&file=" + file("1"), 404, none, ""},
		"action twice":                      {"/?action=status&action=log", 400, none, ""},
		"unknown action":                    {"/?action=uninstall", 404, none, ""},
		"action of another case":            {"/?action=Status", 404, none, ""},
		"no action":                         {"/?deviceid=" + deviceID, 404, none, ""},
		"long query":                        {"/?action=status&x=" + strings.Repeat("x", 600), 400, none, ""},
		"many parameters":                   {"/?action=status" + strings.Repeat("&x", 20), 400, none, ""},
		"posted action that reads":          {"POST /?action=log&deviceid=" + deviceID + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405, none, ""},
		"posted action that wakes":          {"POST /?action=wakeup&deviceid=" + deviceID + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200, none, ""},
		"method of nobody":                  {"BREW /status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405, none, ""},
		"connect":                           {"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405, none, ""},
		"options of all":                    {"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405, none, ""},
		"trace":                             {"TRACE /status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405, none, ""},
		"nonsense":                          {"hello\r\n\r\n", 400, none, ""},
		"large header":                      {"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + strings.Repeat("x", 9<<10) + "\r\n\r\n", 431, none, ""},
		"from a page":                       {"GET /wakeup?deviceid=" + deviceID + " HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: https://evil.example\r\n\r\n", 403, none, "web pages"},
		"from a page of nobody":             {"POST /wakeup?deviceid=" + deviceID + " HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: null\r\n\r\n", 403, none, ""},
		"from a page of this address":       {"POST /wakeup?deviceid=" + deviceID + " HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n\r\n", 403, none, ""},
		"from an image of a page":           {"GET /wakeup?deviceid=" + deviceID + " HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: cross-site\r\n\r\n", 403, none, ""},
		"typed into a browser":              {"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: none\r\n\r\n", 200, none, ""},
		"host localhost":                    {"GET /status HTTP/1.1\r\nHost: localhost:62354\r\n\r\n", 200, 403, ""},
		"host LOCALHOST":                    {"GET /status HTTP/1.1\r\nHost: LOCALHOST\r\n\r\n", 200, 403, ""},
		"host with port":                    {"GET /status HTTP/1.1\r\nHost: 127.0.0.1:62354\r\n\r\n", 200, none, ""},
		"host ::1":                          {"GET /status HTTP/1.1\r\nHost: [::1]:62354\r\n\r\n", 200, 403, ""},
		"host of another":                   {"GET /status HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, none, "not addressed"},
		"host that begins right":            {"GET /status HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", 403, none, ""},
		"host that ends right":              {"GET /status HTTP/1.1\r\nHost: evil.localhost\r\n\r\n", 403, none, ""},
		"host with a user":                  {"GET /status HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n", 400, none, ""},
		"host with two ports":               {"GET /status HTTP/1.1\r\nHost: localhost:1:2\r\n\r\n", 403, none, ""},
		"host with a dot":                   {"GET /status HTTP/1.1\r\nHost: localhost.\r\n\r\n", 403, none, ""},
		"host 0.0.0.0":                      {"GET /status HTTP/1.1\r\nHost: 0.0.0.0:62354\r\n\r\n", 403, none, ""},
		"host as a number":                  {"GET /status HTTP/1.1\r\nHost: 2130706433\r\n\r\n", 403, none, ""},
		"host as mapped IPv6":               {"GET /status HTTP/1.1\r\nHost: [::ffff:127.0.0.1]\r\n\r\n", 403, none, ""},
		"host IPv4 in brackets":             {"GET /status HTTP/1.1\r\nHost: [127.0.0.1]\r\n\r\n", 403, none, ""},
		"host empty":                        {"GET /status HTTP/1.1\r\nHost:\r\n\r\n", 403, none, ""},
		"host missing":                      {"GET /status HTTP/1.1\r\n\r\n", 400, none, ""},
		"host missing in 1.0":               {"GET /status HTTP/1.0\r\n\r\n", 403, none, ""},
		"host twice":                        {"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n", 400, none, ""},
		"host in the line":                  {"GET http://evil.example/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 403, none, ""},
		"host in the line for a fragment":   {"GET http://127.0.0.1/fragments/" + digestOf(shared) + " HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200, none, ""},
		"forwarded host counts for nothing": {"GET /status HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: 127.0.0.1\r\n\r\n", 403, none, ""},
	}
	inside := newBench(t, config.Listener{}, nil)
	outside := newBench(t, config.Listener{LAN: true}, asLAN)
	plant(t, inside.data)
	plant(t, outside.data)
	for name, c := range cases {
		if strings.HasPrefix(c.request, "/") {
			c.request = get(c.request)
		}
		for _, lan := range []bool{false, true} {
			b, want := inside, c.want
			if lan {
				b = outside
			}
			if lan && c.lan != none {
				want = c.lan
			}
			t.Run(fmt.Sprintf("%s, lan %t", name, lan), func(t *testing.T) {
				resp := b.raw(t, lan, c.request)
				body := bodyOf(t, resp)
				require.Equal(t, want, resp.StatusCode, body)
				require.NotContains(t, body, secret)
				require.NotContains(t, body, private)
				require.NotContains(t, body, "root:")
				if want == c.want {
					require.Contains(t, body, c.body)
				}
				if resp.Header.Get("Content-Security-Policy") == "" {
					return // net/http answers what is no request
				}
				require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
				if resp.StatusCode != 416 && resp.Header.Get("Etag") == "" {
					require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
				}
			})
		}
	}
	for _, b := range []*bench{inside, outside} {
		require.Len(t, b.wakeups(), 5, "only what was answered so has woken")
		require.Subset(t, []string{deviceID}, b.wakeups())
	}
}

func TestLAN_logWhenConfigured(t *testing.T) {
	t.Parallel()
	b := newBench(t, config.Listener{LAN: true, LogOnLAN: true}, asLAN)
	require.Equal(t, 200, b.raw(t, true, get("/log?deviceid="+deviceID)).StatusCode)
	require.Equal(t, 403, b.raw(t, true, get("/log?deviceid=x")).StatusCode)
}

func TestLAN_knowsTheComputersName(t *testing.T) {
	t.Parallel()
	local := netip.MustParseAddr("192.0.2.7")
	for _, name := range hostNames() {
		require.True(t, hostAllowed(name, local, true))
		require.True(t, hostAllowed(strings.ToUpper(name)+":62354", local, true))
	}
	require.True(t, hostAllowed("192.0.2.7:62354", local, true))
	require.False(t, hostAllowed("192.0.2.8", local, true))
	require.False(t, hostAllowed("192.0.2.7", local, false))
	require.True(t, hostAllowed("[fe80::1]:1", netip.MustParseAddr("fe80::1%eth0"), true))
}

// On the network there is no plain HTTP; the certificate is the device's own, and stays.
func TestLAN_isHTTPSWithTheDevicesCertificate(t *testing.T) {
	t.Parallel()
	b := newBench(t, config.Listener{LAN: true}, asLAN)
	c, err := net.Dial("tcp", b.address)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(c, get("/status"))
	require.NoError(t, err)
	answer, err := io.ReadAll(c)
	if err == nil {
		require.NotContains(t, string(answer), "200 OK")
	}

	shown := func(b *bench) string {
		c, err := tls.Dial("tcp", b.address, b.pinned())
		require.NoError(t, err)
		defer c.Close()
		require.Equal(t, uint16(tls.VersionTLS13), c.ConnectionState().Version)
		return certificate.Fingerprint(c.ConnectionState().PeerCertificates[0])
	}
	first := shown(b)
	require.Equal(t, first, b.State().Fingerprint)
	info, err := os.Stat(filepath.Join(b.data, certificateFile))
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	_, again, err := loadCertificate(b.data, b.Listener.log)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.NoError(t, os.WriteFile(filepath.Join(b.data, certificateFile), []byte("damaged"), 0o600))
	_, other, err := loadCertificate(b.data, b.Listener.log)
	require.NoError(t, err)
	require.NotEqual(t, first, other)
	require.Contains(t, b.log(), "a new one is made")
}

// This computer's own users need no certificate, whatever the network is given.
func TestLAN_isPlainOnLoopback(t *testing.T) {
	t.Parallel()
	b := newBench(t, config.Listener{LAN: true}, nil)
	require.Equal(t, 200, b.raw(t, false, get("/status")).StatusCode)
	require.Equal(t, 200, b.raw(t, false, get("/log?deviceid="+deviceID)).StatusCode)
}

// Without lan, what was led here from elsewhere is not even read.
func TestLoopback_turnsStrangersAway(t *testing.T) {
	t.Parallel()
	b := newBench(t, config.Listener{}, asLAN)
	c, err := net.Dial("tcp", b.address)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, _ = io.WriteString(c, get("/status")) // may be closed already
	answer, _ := io.ReadAll(c)
	require.Empty(t, answer)
}

func TestPort_busy(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := other.Addr().(*net.TCPAddr).Port
	changes := make(chan struct{}, 100)
	b := newBench(t, config.Listener{Port: port, LAN: true}, func(l *Listener) {
		l.again = time.Millisecond
		l.o.Changed = func() { changes <- struct{}{} }
	})
	require.Contains(t, b.State().Problem, "in use")
	require.Empty(t, b.State().Addresses)
	require.NoError(t, other.Close())
	require.Eventually(t, func() bool { return len(b.State().Addresses) == 1 }, patience, time.Millisecond)
	require.Empty(t, b.State().Problem)
	require.Equal(t, other.Addr().String(), b.State().Addresses[0])
	b.address = b.State().Addresses[0]
	require.Equal(t, 200, b.raw(t, false, get("/status")).StatusCode)
	require.Equal(t, 1, strings.Count(b.log(), "level=WARN"), "said once: %s", b.log())
	require.Eventually(t, func() bool { return len(changes) == 2 }, patience, time.Millisecond)
}

func TestDisabled(t *testing.T) {
	t.Parallel()
	l := New(Options{DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	l.Run(t.Context()) // ends at once
	require.Empty(t, l.State().Addresses)
	b, err := json.Marshal(l.State())
	require.NoError(t, err)
	require.JSONEq(t, `{"addresses":[]}`, string(b))
}

func TestRates(t *testing.T) {
	t.Parallel()
	l := limiter{rates: rates{burst: 2, perSecond: 1, sumBurst: 3, sumPerSecond: 1, wakeBurst: 1, wakePerSecond: 0.1}}
	now := time.Now()
	addr := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	require.True(t, l.allow(addr("192.0.2.1"), true, now))
	require.True(t, l.allow(addr("::ffff:192.0.2.1"), true, now))
	require.False(t, l.allow(addr("192.0.2.1"), true, now), "one address has used its own up")
	require.True(t, l.allow(addr("2001:db8::1"), true, now))
	require.False(t, l.allow(addr("192.0.2.2"), true, now), "all have used the sum up")
	require.True(t, l.allow(addr("127.0.0.1"), false, now), "this computer's own users have a sum of their own")
	require.True(t, l.allow(addr("192.0.2.1"), true, now.Add(time.Second)), "it comes back with time")
	require.True(t, l.allow(addr("127.0.0.1"), false, now.Add(-time.Hour)), "a clock that is set back locks nobody out")

	require.True(t, l.allowWake("a", now))
	require.False(t, l.allowWake("a", now))
	require.True(t, l.allowWake("b", now))
	require.True(t, l.allowWake("a", now.Add(10*time.Second)))

	l = limiter{rates: rates{burst: 1, perSecond: 1, sumBurst: 1e9, sumPerSecond: 1}}
	allowed := 0
	for n := range 5000 {
		if l.allow(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), true, now) {
			allowed++
		}
	}
	require.Equal(t, maxRemotes, allowed)
	require.Len(t, l.remotes, maxRemotes, "many addresses do not grow the memory")
	require.True(t, l.allow(addr("192.0.2.1"), true, now.Add(time.Minute)), "and are forgotten")
}

func TestRates_answer429(t *testing.T) {
	t.Parallel()
	b := newBench(t, config.Listener{}, func(l *Listener) { l.limits.rates = rates{burst: 2, sumBurst: 10, wakeBurst: 1} })
	require.Equal(t, 200, b.raw(t, false, get("/wakeup?deviceid="+deviceID)).StatusCode)
	resp := b.raw(t, false, get("/wakeup?deviceid="+deviceID))
	require.Equal(t, 429, resp.StatusCode)
	require.Contains(t, bodyOf(t, resp), "several wakeups")
	resp = b.raw(t, false, get("/status"))
	require.Equal(t, 429, resp.StatusCode)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	require.Len(t, b.wakeups(), 1)
}

// Whatever a thousand clients at once do, no more than the bound are served at a time, each gets an answer or
// is cut, and afterwards it goes on.
func TestThousandClients(t *testing.T) {
	t.Parallel()
	for _, lan := range []bool{false, true} {
		t.Run(fmt.Sprintf("lan %t", lan), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, config.Listener{LAN: lan}, func(l *Listener) {
				l.limits.rates = defaultRates
				if lan {
					asLAN(l)
				}
			})
			plant(t, b.data)
			pinned := b.pinned()
			var wg sync.WaitGroup
			var mu sync.Mutex
			got, most := map[int]int{}, 0
			open := make(chan struct{}, 200) // of this test, for the sake of its own file descriptors
			for n := range 1000 {
				wg.Go(func() {
					open <- struct{}{}
					defer func() { <-open }()
					status := b.knock(n, lan, pinned)
					b.counts.mu.Lock()
					now := b.counts.local + b.counts.lan
					b.counts.mu.Unlock()
					mu.Lock()
					defer mu.Unlock()
					got[status]++
					most = max(most, now)
				})
			}
			wg.Wait()
			for status := range got {
				require.Contains(t, []int{0, 200, 429}, status, "%v", got)
			}
			require.LessOrEqual(t, most, max(maxLocalConns, maxLANConns))
			t.Logf("answers by status, 0 for a cut: %v; most connections at once: %d", got, most)
			require.Eventually(t, func() bool { return b.knock(0, lan, pinned) == 200 }, patience, 100*time.Millisecond, "it goes on")
			require.Eventually(t, func() bool {
				b.counts.mu.Lock()
				defer b.counts.mu.Unlock()
				return b.counts.local+b.counts.lan == 0 && len(b.counts.remotes) == 0
			}, patience, 10*time.Millisecond, "nothing stays open")
		})
	}
}

// knock asks as one of many clients and returns the status, 0 when it was cut.
func (b *bench) knock(n int, lan bool, pinned *tls.Config) int {
	c, err := net.Dial("tcp", b.address)
	if err != nil {
		return 0
	}
	if lan {
		c = tls.Client(c, pinned)
	}
	defer c.Close()
	if c.SetDeadline(time.Now().Add(patience)) != nil {
		return 0
	}
	path := []string{"/status", "/fragments/" + digestOf(shared), "/log?deviceid=" + deviceID}[n%2]
	if _, err := io.WriteString(c, get(path)); err != nil {
		return 0
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// One neighbour cannot hold all connections of the network, and the network none of this computer's own.
func TestConnections(t *testing.T) {
	t.Parallel()
	var c counts
	var held []func()
	for range maxRemoteConns {
		held = append(held, c.take(netip.MustParseAddr("192.0.2.1"), true))
	}
	require.NotContains(t, held, nil)
	require.Nil(t, c.take(netip.MustParseAddr("192.0.2.1"), true))
	for n := range maxLANConns - maxRemoteConns {
		require.NotNil(t, c.take(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), true))
	}
	require.Nil(t, c.take(netip.MustParseAddr("192.0.2.2"), true))
	for range maxLocalConns {
		require.NotNil(t, c.take(netip.MustParseAddr("127.0.0.1"), false))
	}
	require.Nil(t, c.take(netip.MustParseAddr("127.0.0.1"), false))
	held[0]()
	require.NotNil(t, c.take(netip.MustParseAddr("192.0.2.1"), true))
}
