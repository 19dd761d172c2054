package httpapi

import (
	"net"
	"net/http"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/api"
)

// LocalHandler serves the browser on the same computer without TLS. It answers only requests that
// name this computer, so that no foreign site can point its own name here, and none of agents, whose
// credentials must not travel in the clear.
func (s *Server) LocalHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localHost(r.Host) {
			s.refuse(w, fault.New(fault.Forbidden, "this address is for http://localhost only"))
			return
		}
		if under(r.URL.Path, "/agent") {
			s.refuse(w, fault.New(fault.Forbidden, "agents talk to the https address"))
			return
		}
		s.echo.ServeHTTP(w, r)
	})
}

func (s *Server) refuse(w http.ResponseWriter, err error) {
	if werr := api.ProblemOf(err).Write(w); werr != nil {
		s.opt.Log.Debug("an answer could not be sent", "err", werr)
	}
}

func localHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
