//go:build unix

package sysread

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// readFile reads by system calls: package os would ask the poller for each of some thousand small files.
// O_NONBLOCK keeps a named pipe without a writer from blocking before it is seen to be no file.
func readFile(path string, limit int) ([]byte, error) {
	fd, err := again(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errNotFile}
	}
	// Files of /proc and /sys say that they are empty, or a page long.
	data := make([]byte, 0, min(max(int(min(st.Size, int64(limit)))+1, 256), 4096))
	for len(data) < limit {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := again(func() (int, error) { return unix.Read(fd, data[len(data):min(cap(data), limit)]) })
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n <= 0 {
			break
		}
		data = data[:len(data)+n]
	}
	return data, nil
}

func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
