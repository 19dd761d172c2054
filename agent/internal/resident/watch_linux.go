package resident

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// watch tells of changes in folders. Its zero value tells of none.
type watch struct {
	file    *os.File
	mask    uint32
	c       chan struct{}
	watched map[string]int // folder → descriptor
}

// What a watch tells of.
const (
	watchNames = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
	watchFiles = watchNames | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB // also what becomes of files
)

func newWatch(mask uint32) (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return &watch{}, fmt.Errorf("watch folders: %w", err)
	}
	w := &watch{file: os.NewFile(uintptr(fd), "inotify"), mask: mask, c: make(chan struct{}, 1)}
	go w.read()
	return w, nil
}

// read only notes that something changed: what, is looked up.
func (w *watch) read() {
	events := make([]byte, 16*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	for {
		if _, err := w.file.Read(events); err != nil {
			return // closed
		}
		nudge(w.c)
	}
}

// set watches these folders and no others, and reports whether it watches all of them.
func (w *watch) set(dirs []string) bool {
	if w.file == nil {
		return false
	}
	raw, err := w.file.SyscallConn()
	if err != nil {
		return false
	}
	all := true
	err = raw.Control(func(fd uintptr) {
		before := w.watched
		w.watched = map[string]int{}
		for _, dir := range dirs { // also those of before: another folder may have the name now
			wd, err := unix.InotifyAddWatch(int(fd), dir, w.mask|unix.IN_ONLYDIR)
			if err != nil {
				all = false
				continue
			}
			w.watched[dir] = wd
		}
		for dir, wd := range before {
			if _, still := w.watched[dir]; !still {
				_, _ = unix.InotifyRmWatch(int(fd), uint32(wd)) // an error means that the folder has gone
			}
		}
	})
	return err == nil && all
}

func (w *watch) changes() <-chan struct{} { return w.c }

func (w *watch) close() {
	if w.file != nil {
		_ = w.file.Close()
	}
}
