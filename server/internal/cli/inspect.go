package cli

import "github.com/danielgtaylor/huma/v2"

// API is the admin API as it is described.
func (s *Server) API() huma.API { return s.web.API() }
