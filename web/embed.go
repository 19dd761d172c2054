// Package web holds the built web page. Only the server's httpapi imports it. Before the page has been
// built (make web), Dist holds no index.html.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var files embed.FS

// Dist is the folder that `vite build` writes.
func Dist() fs.FS {
	dist, err := fs.Sub(files, "dist")
	if err != nil { // dist is a valid path and always embedded
		return files
	}
	return dist
}
