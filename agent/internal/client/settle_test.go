package client

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

// A report may be answered so late that the secret by which it was accepted is retired meanwhile: the device
// must not go back to it.
func TestSettle_aLateAnswerBringsNoRetiredSecretBack(t *testing.T) {
	t.Parallel()
	asked, letGo := make(chan struct{}), make(chan struct{})
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == protocol.PathCheckIn:
			_, _ = io.WriteString(w, `{"state":"active"}`)
		case strings.HasSuffix(r.Header.Get("Authorization"), "_first"):
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"title":"Unauthorized","status":401,"code":"unauthenticated","detail":"wrong secret"}`)
		default:
			close(asked)
			<-letGo
			_, _ = io.WriteString(w, `{"ids":[]}`)
		}
	}))
	t.Cleanup(srv.Close)
	var mu sync.Mutex
	var kept []string
	c, err := New(Options{
		URLs: []string{srv.URL}, CAPEM: pemOf(srv.Certificate()), DeviceID: "device", Secret: "first", NextSecret: "second",
		Promote: func(secret string) error {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, secret)
			return nil
		},
	})
	require.NoError(t, err)
	late := make(chan error, 1)
	go func() {
		_, err := c.Reports(t.Context(), nil)
		late <- err
	}()
	select {
	case <-asked:
	case err := <-late:
		require.FailNow(t, "the second secret was not tried", "%v", err)
	}
	_, err = c.Promote(t.Context(), protocol.CheckInRequest{})
	require.NoError(t, err)
	c.SetNext("third")
	_, err = c.Promote(t.Context(), protocol.CheckInRequest{})
	require.NoError(t, err)
	close(letGo)
	require.NoError(t, <-late)
	mu.Lock()
	defer mu.Unlock()
	require.True(t, slices.Equal([]string{"second", "third"}, kept), "%v", kept)
	secret, next := c.Secrets()
	require.Equal(t, "third", secret)
	require.Empty(t, next)
}
