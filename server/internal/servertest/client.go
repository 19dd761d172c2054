package servertest

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
)

// Client sends requests to a server.
type Client struct {
	URL    string
	Header http.Header // added to each request
	HTTP   *http.Client
}

// Raw is a body that is sent as it is.
type Raw struct {
	Type string // media type
	Data []byte
}

// Response is an answer.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends a request. body is nil, Raw, or anything that becomes JSON; header is pairs of name and
// value.
func (c *Client) Do(t testing.TB, method, path string, body any, header ...string) Response {
	t.Helper()
	var in io.Reader
	contentType := ""
	switch b := body.(type) {
	case nil:
	case Raw:
		in, contentType = bytes.NewReader(b.Data), b.Type
	default:
		data, err := json.Marshal(b)
		require.NoError(t, err)
		in, contentType = bytes.NewReader(data), "application/json"
	}
	req, err := http.NewRequestWithContext(t.Context(), method, c.URL+path, in)
	require.NoError(t, err)
	for k, v := range c.Header {
		req.Header[k] = v
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.HTTP.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return Response{Status: res.StatusCode, Header: res.Header, Body: data}
}

// JSON requires the status and decodes the answer into v; a nil v only requires.
func (r Response) JSON(t testing.TB, status int, v any) {
	t.Helper()
	require.Equal(t, status, r.Status, "%s", r.Body)
	if v != nil {
		require.NoError(t, json.Unmarshal(r.Body, v), "%s", r.Body)
	}
}

// Problem requires an error answer and returns it.
func (r Response) Problem(t testing.TB, status int) protocol.Problem {
	t.Helper()
	require.Equal(t, status, r.Status, "%.500s", r.Body)
	require.Equal(t, "application/problem+json", r.Header.Get("Content-Type"))
	var p protocol.Problem
	require.NoError(t, json.Unmarshal(r.Body, &p), "%s", r.Body)
	require.Equal(t, status, p.Status)
	require.NotEmpty(t, p.Code)
	require.NotEmpty(t, p.Detail)
	return p
}

// Device is an enrolled device.
type Device struct {
	*Client
	ID     string
	Secret string
}

// Enroll makes an enrollment token as admin and joins with it.
func (s *Server) Enroll(t testing.TB, admin *Client, hostname string) *Device {
	t.Helper()
	return s.EnrollWith(t, admin, hostname, nil)
}

// EnrollWith is Enroll with a token that has more properties than a name.
func (s *Server) EnrollWith(t testing.TB, admin *Client, hostname string, token map[string]any) *Device {
	t.Helper()
	wanted := map[string]any{"name": hostname}
	maps.Copy(wanted, token)
	var made struct {
		Token string `json:"token"`
	}
	admin.Do(t, http.MethodPost, api.Path+"/enrollment-tokens", wanted).JSON(t, http.StatusCreated, &made)
	secret := random(t)
	c := s.Anonymous(t)
	var joined protocol.EnrollResponse
	c.Do(t, http.MethodPost, protocol.PathEnroll, protocol.EnrollRequest{
		Protocol: protocol.Version, Token: made.Token, Nonce: random(t), SecretSHA256: protocol.HashSecret(secret),
		Facts: protocol.Facts{
			Hostname: hostname, OS: "linux", OSName: "Debian GNU/Linux", OSVersion: "12", Arch: "amd64",
			MachineID: random(t), AgentVersion: "1.0.0", ChangedAt: time.Now().UTC(), TasksAllowed: []string{protocol.TaskDeploy, protocol.TaskUpdate},
			Modules: []string{protocol.TaskDeploy, protocol.TaskUpdate},
		},
	}).JSON(t, http.StatusOK, &joined)
	require.NotEmpty(t, joined.DeviceID)
	c.Header.Set("Authorization", "Bearer "+protocol.Credential(joined.DeviceID, secret))
	return &Device{Client: c, ID: joined.DeviceID, Secret: secret}
}

// random is 64 hex digits.
func random(t testing.TB) string {
	t.Helper()
	var b [32]byte
	_, err := rand.Read(b[:])
	require.NoError(t, err)
	return hex.EncodeToString(b[:])
}
