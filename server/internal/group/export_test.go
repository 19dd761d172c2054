package group

import "context"

// FindAmong looks for the members of all saved searches among the named devices, as after a change of them.
func (s *Service) FindAmong(ctx context.Context, ids ...string) error {
	return s.findAll(ctx, ids, false)
}
