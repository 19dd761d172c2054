package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/muster/internal/client"
)

// store is a server that takes one upload, and fails as its fields say.
type store struct {
	mu       sync.Mutex
	data     []byte
	size     int64
	lost     int  // answers to PATCH that never arrive
	busy     int  // 503 answers to PATCH
	refuse   bool // 401 to PATCH
	finished bool
	patches  int
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Method + " " + r.URL.Path {
	case "POST /api/v1/uploads":
		var in struct{ Size int64 }
		_ = json.NewDecoder(r.Body).Decode(&in)
		s.size = in.Size
	case "PATCH /api/v1/uploads/u":
		if !s.take(w, r) {
			return
		}
	case "POST /api/v1/uploads/u/finish":
		s.finished = true
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"id": "u", "size": s.size, "offset": len(s.data), "state": map[bool]string{true: "finished", false: "open"}[s.finished]})
}

// asked is how often PATCH came. A request whose client has gone may still be in its handler.
func (s *store) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.patches
}

func (s *store) take(w http.ResponseWriter, r *http.Request) bool {
	s.patches++
	fail := func(code fault.Code) bool {
		w.WriteHeader(fault.Status(code))
		_, _ = fmt.Fprintf(w, `{"code":%q,"detail":"the offset is %d"}`, code, len(s.data))
		return false
	}
	switch {
	case s.refuse:
		return fail(fault.Unauthenticated)
	case s.busy > 0:
		s.busy--
		return fail(fault.Unavailable)
	case r.Header.Get("Upload-Offset") != strconv.Itoa(len(s.data)):
		return fail(fault.Conflict)
	}
	if r.ContentLength < 0 {
		return fail(fault.Invalid) // proxies need the length
	}
	b, _ := io.ReadAll(r.Body)
	s.data = append(s.data, b...)
	if s.lost > 0 {
		s.lost--
		panic(http.ErrAbortHandler)
	}
	return true
}

func newClient(t *testing.T, h http.Handler) *client.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := client.New(client.Options{URL: srv.URL, Token: "mapi_x"})
	require.NoError(t, err)
	return c
}

func upload(t *testing.T, s *store, data []byte, tries uint) (client.Upload, error) {
	t.Helper()
	return newClient(t, s).Upload(t.Context(), client.UploadOptions{FileName: "f", Content: bytes.NewReader(data), Size: int64(len(data)), Tries: tries})
}

func TestUpload_goesOn(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789"), 7<<20) // three pieces
	cases := map[string]*store{
		"smooth":      {},
		"lost answer": {lost: 1},
		"busy":        {busy: 2},
	}
	for name, s := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := upload(t, s, data, 0)
			require.NoError(t, err)
			require.Equal(t, "finished", u.State)
			require.True(t, bytes.Equal(data, s.data))
		})
	}
}

func TestUpload_givesUp(t *testing.T) {
	t.Parallel()
	s := &store{refuse: true}
	_, err := upload(t, s, []byte("abc"), 0)
	require.True(t, fault.Is(err, fault.Unauthenticated), "%v", err)
	require.Equal(t, 1, s.asked(), "what cannot pass is not repeated")

	s = &store{busy: 100}
	_, err = upload(t, s, []byte("abc"), 2)
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.Equal(t, 2, s.asked())
}

type broken struct{}

var errDisk = errors.New("disk broken")

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

func TestUpload_readErrorOfTheFile(t *testing.T) {
	t.Parallel()
	s := &store{}
	_, err := newClient(t, s).Upload(t.Context(), client.UploadOptions{FileName: "f", Content: broken{}, Size: 10})
	require.ErrorIs(t, err, errDisk)
	require.LessOrEqual(t, s.asked(), 1)
}

func TestUpload_resume(t *testing.T) {
	t.Parallel()
	data := []byte("hello, world")
	s := &store{data: []byte("hello"), size: int64(len(data))}
	c := newClient(t, s)
	_, err := c.Upload(t.Context(), client.UploadOptions{FileName: "f", Content: bytes.NewReader(data), Size: int64(len(data)), Resume: "u"})
	require.NoError(t, err)
	require.Equal(t, "hello, world", string(s.data))
	_, err = c.Upload(t.Context(), client.UploadOptions{FileName: "f", Content: bytes.NewReader(data), Size: 5, Resume: "u"})
	require.True(t, fault.Is(err, fault.Conflict), "another file: %v", err)
}

func TestProblem_becomesAFault(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		status int
		body   string
		code   fault.Code
		msg    string
	}{
		"with fields":  {400, `{"title":"Bad Request","detail":"invalid input","code":"invalid","errors":[{"field":"body.name","message":"is too long"}]}`, fault.Invalid, "invalid input: name: is too long"},
		"title only":   {409, `{"title":"Conflict","code":"conflict"}`, fault.Conflict, "Conflict"},
		"of a proxy":   {502, `<html>`, fault.Unavailable, "502"},
		"unknown code": {418, `{"code":"teapot","detail":"x"}`, fault.Code("teapot"), "x"},
		"empty":        {401, ``, fault.Unauthenticated, "401"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			_, err := api.Me(t.Context())
			require.Equal(t, c.code, fault.CodeOf(err))
			require.ErrorContains(t, err, c.msg)
		})
	}
}

func TestParseServer(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"muster.example.com": "https://muster.example.com", "https://m:8443/": "https://m:8443", "http://localhost:8080": "http://localhost:8080",
		"http://127.0.0.9:1": "http://127.0.0.9:1", "http://[::1]:1": "http://[::1]:1",
	} {
		u, err := client.ParseServer(raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, u.String())
	}
	for _, raw := range []string{"", "http://m", "http://localhost.example.com", "http://127.0.0.1.example.com", "ws://m", "https://", "https://a@m", "https://m/?x", "https://m/#x", "http://10.0.0.1"} {
		_, err := client.ParseServer(raw)
		require.True(t, fault.Is(err, fault.Invalid), raw)
	}
}

func TestCall_cancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	api := newClient(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() }))
	_, err := api.Me(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestAuthority_needsTLS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(srv.Close)
	_, err := client.Authority(t.Context(), srv.URL, "")
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	_, err = client.Authority(t.Context(), "https"+srv.URL[4:], "")
	var unreachable *client.UnreachableError
	require.ErrorAs(t, err, &unreachable)
}
