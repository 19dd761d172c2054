//go:build !linux

package resident

// watch tells of nothing: folders are looked at from time to time.
type watch struct{}

// What a watch tells of, see watch_linux.go.
const (
	watchNames = 0
	watchFiles = 0
)

func newWatch(uint32) (*watch, error) { return &watch{}, nil }

func (w *watch) set([]string) bool { return false }

func (w *watch) changes() <-chan struct{} { return nil }

func (w *watch) close() {}
