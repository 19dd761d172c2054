package certificate_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/certificate"
	"github.com/muster/muster/packages/fault"
)

func TestPresented_sendsNothing(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(srv.Close)
	chain, err := certificate.Presented(t.Context(), srv.URL)
	require.NoError(t, err)
	require.Zero(t, requests.Load())

	want := srv.Certificate()
	require.Equal(t, want.Raw, chain[0].Raw)
	require.Equal(t, want.Raw, certificate.Find(chain, certificate.Fingerprint(want)).Raw)
	require.Nil(t, certificate.Find(chain, strings.Repeat("0", 64)))
	require.Contains(t, string(certificate.EncodePEM(want)), "BEGIN CERTIFICATE")
}

func TestPresented_tellsWhyNot(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	_, err := certificate.Presented(t.Context(), "https"+strings.TrimPrefix(plain.URL, "http"))
	require.Error(t, err)
	gone := httptest.NewTLSServer(http.NotFoundHandler())
	gone.Close()
	_, err = certificate.Presented(t.Context(), gone.URL)
	require.ErrorContains(t, err, "refused")
	_, err = certificate.Presented(t.Context(), "https://\x00")
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
}
