package httpapi

import (
	"bytes"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// notBuilt is what a browser reads when the program was built without the page.
const notBuilt = "UI not built: run `make web`\n"

// page serves the built web page: its files, and index.html for every path that the page itself
// routes.
type page struct{ files fs.FS }

func newPage(files fs.FS) *page { return &page{files: files} }

func (p *page) serve(c echo.Context) error {
	r := c.Request()
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	if under(r.URL.Path, "/api") || under(r.URL.Path, "/agent") {
		return echo.ErrNotFound
	}
	h := c.Response().Header()
	if data, ok := p.read(name); ok {
		h.Set("Cache-Control", "no-cache")
		if strings.HasPrefix(name, "assets/") { // named by their content
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		return send(c, name, data)
	}
	if path.Ext(name) != "" {
		return echo.ErrNotFound
	}
	data, ok := p.read("index.html")
	if !ok {
		return c.String(http.StatusServiceUnavailable, notBuilt)
	}
	h.Set("Cache-Control", "no-cache")
	return send(c, "index.html", data)
}

// read is a file of the page; hidden ones and folders are none.
func (p *page) read(name string) ([]byte, bool) {
	if p.files == nil || name == "" || strings.HasPrefix(path.Base(name), ".") {
		return nil, false
	}
	data, err := fs.ReadFile(p.files, name)
	return data, err == nil
}

func send(c echo.Context, name string, data []byte) error {
	http.ServeContent(c.Response(), c.Request(), name, time.Time{}, bytes.NewReader(data))
	return nil
}

// compress shrinks the page's files. Answers of the API are left alone: a secret beside text that a
// client chooses must not be compressed together.
func compress() echo.MiddlewareFunc {
	return middleware.GzipWithConfig(middleware.GzipConfig{
		Level: 5, MinLength: 1024,
		Skipper: func(c echo.Context) bool {
			return c.Request().Header.Get("Range") != "" || under(c.Request().URL.Path, "/api")
		},
	})
}
