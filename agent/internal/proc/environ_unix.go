//go:build unix

package proc

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

func baseEnviron() []string {
	home := os.Getenv("HOME")
	if os.Geteuid() == 0 {
		home = "/root"
		if info, err := os.Stat("/var/root"); err == nil && info.IsDir() { // macOS
			home = "/var/root"
		}
	}
	if home == "" {
		home = "/"
	}
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + home,
		"LANG=C.UTF-8",
	}
}

// lookPath finds the program that a command names, in the child's own PATH and folder rather than the
// agent's.
func lookPath(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if filepath.IsAbs(name) {
			return name, nil
		}
		return filepath.Join(dir, name), nil
	}
	path := ""
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = value
		}
	}
	var denied error
	for _, folder := range filepath.SplitList(path) {
		if !filepath.IsAbs(folder) {
			continue // an empty or relative entry would mean the current folder
		}
		file := filepath.Join(folder, name)
		info, err := os.Stat(file)
		if err != nil || info.IsDir() {
			continue
		}
		if info.Mode()&0o111 == 0 {
			denied = &fs.PathError{Op: "exec", Path: file, Err: syscall.EACCES}
			continue
		}
		return file, nil
	}
	if denied != nil {
		return "", denied
	}
	return "", fmt.Errorf("program %q not found in %s", name, path)
}
