package logging

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Core is the tag of lines that belong to no task: the resident process itself.
const Core = "core"

// tagged makes lines "time [task][LEVEL] message key=value". The task comes from the attribute Task, given
// with the line or by With; everything after the message is written by slog's own text handler, so
// that quoting (and with it: one line per record, whatever the text) is the same everywhere.
type tagged struct {
	out    func(Line) error
	level  slog.Leveler
	task   string
	server string
	groups bool // inside a group the keys "task" and "server" are others
	// apply repeats the With and WithGroup calls on a fresh text handler.
	apply []func(slog.Handler) slog.Handler
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (h *tagged) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *tagged) Handle(ctx context.Context, r slog.Record) error {
	line := Line{Time: r.Time, Task: h.task, Server: h.server, Level: r.Level, Text: Clean(r.Message)}
	rest := slog.NewRecord(time.Time{}, r.Level, "", 0)
	r.Attrs(func(a slog.Attr) bool {
		if !line.tag(h.groups, a) {
			rest.AddAttrs(a)
		}
		return true
	})
	line.Task = Clean(line.Task)

	var attrs bytes.Buffer
	var text slog.Handler = slog.NewTextHandler(&attrs, &slog.HandlerOptions{Level: h.level, ReplaceAttr: dropHead})
	for _, f := range h.apply {
		text = f(text)
	}
	if err := text.Handle(ctx, rest); err != nil {
		return err
	}

	if text := strings.TrimSuffix(attrs.String(), "\n"); text != "" {
		line.Text += " " + text
	}
	return h.out(line)
}

// tag takes over an attribute that says what the line is of; true when it is not to be written again.
func (l *Line) tag(groups bool, a slog.Attr) bool {
	switch {
	case groups:
	case a.Key == Task:
		l.Task = a.Value.String()
		return true
	case a.Key == Server:
		l.Server = a.Value.String()
	}
	return false
}

func (h *tagged) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	rest := make([]slog.Attr, 0, len(attrs))
	of := Line{Task: h.task, Server: h.server}
	for _, a := range attrs {
		if !of.tag(h.groups, a) {
			rest = append(rest, a)
		}
	}
	c.task, c.server = of.Task, of.Server
	c.apply = append(slices.Clip(h.apply), func(t slog.Handler) slog.Handler { return t.WithAttrs(rest) })
	return &c
}

func (h *tagged) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.groups = true
	c.apply = append(slices.Clip(h.apply), func(t slog.Handler) slog.Handler { return t.WithGroup(name) })
	return &c
}

// dropHead leaves out what the line's head already says.
func dropHead(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return slog.Attr{}
	}
	return a
}
