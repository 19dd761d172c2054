//go:build !unix

package sysread

import (
	"io"
	"io/fs"
	"os"
)

func readFile(path string, limit int) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if st, err := file.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errNotFile}
	}
	return io.ReadAll(io.LimitReader(file, int64(limit)))
}
