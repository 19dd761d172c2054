// Package proxy finds the proxy of the environment for connections to a Muster server, and tells people
// what is wrong with it. It keeps no state. The agent and certificate.Presented call it.
package proxy

import (
	"context"
	"net/http"
	"net/url"

	"github.com/muster/muster/packages/fault"
)

// FromEnvironment is the proxy for a request by the environment (HTTPS_PROXY, NO_PROXY), nil for none. Through a
// proxy goes only what is encrypted up to the server, so one that is spoken to by TLS gains nothing, and
// would need the system's authorities in the resident's memory: it is refused in words.
func FromEnvironment(req *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(req)
	if err != nil {
		// The error would quote it, with its password.
		return nil, fault.New(fault.Invalid, "HTTPS_PROXY cannot be read: write it as http://HOST:PORT")
	}
	if u != nil && u.Scheme == "https" {
		return nil, fault.New(fault.Unsupported, "HTTPS_PROXY names the https:// proxy %s, which cannot be used here: write http://HOST:PORT or socks5://HOST:PORT; "+
			"what goes through is encrypted up to the server all the same", u.Host)
	}
	return u, nil
}

// Connected judges a proxy's answer to CONNECT, as http.Transport.OnProxyConnectResponse. The messages do
// not hold the password.
func Connected(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusProxyAuthRequired:
		return fault.New(fault.Unavailable, "the proxy %s wants a user name and a password, or others than it was given: write HTTPS_PROXY as http://USER:PASSWORD@%s", proxy.Host, proxy.Host)
	default:
		return fault.New(fault.Unavailable, "the proxy %s answers %.100s", proxy.Host, resp.Status)
	}
}
