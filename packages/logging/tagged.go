package logging

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Core is the tag of lines that belong to no task: the resident process itself.
const Core = "core"

// tagged writes "time [task][LEVEL] message key=value". The task comes from the attribute Task, given
// with the line or by With; everything after the message is written by slog's own text handler, so
// that quoting (and with it: one line per record, whatever the text) is the same everywhere.
type tagged struct {
	out    *lockedWriter
	level  slog.Leveler
	task   string
	groups bool // inside a group the key "task" is another one
	// apply repeats the With and WithGroup calls on a fresh text handler.
	apply []func(slog.Handler) slog.Handler
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func newTagged(w io.Writer, level slog.Leveler) *tagged {
	return &tagged{out: &lockedWriter{w: w}, level: level, task: Core}
}

func (h *tagged) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *tagged) Handle(ctx context.Context, r slog.Record) error {
	task := h.task
	rest := slog.NewRecord(time.Time{}, r.Level, "", 0)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == Task && !h.groups {
			task = a.Value.String()
		} else {
			rest.AddAttrs(a)
		}
		return true
	})

	var attrs bytes.Buffer
	var text slog.Handler = slog.NewTextHandler(&attrs, &slog.HandlerOptions{Level: h.level, ReplaceAttr: dropHead})
	for _, f := range h.apply {
		text = f(text)
	}
	if err := text.Handle(ctx, rest); err != nil {
		return err
	}

	var line bytes.Buffer
	line.WriteString(r.Time.Format("2006-01-02T15:04:05.000Z07:00"))
	line.WriteString(" [" + oneLine(task) + "][" + r.Level.String() + "] " + oneLine(r.Message))
	if attrs.Len() > 1 {
		line.WriteByte(' ')
		line.Write(attrs.Bytes()) // ends in a newline
	} else {
		line.WriteByte('\n')
	}
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := h.out.w.Write(line.Bytes())
	return err
}

func (h *tagged) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	rest := make([]slog.Attr, 0, len(attrs))
	for _, a := range attrs {
		if a.Key == Task && !h.groups {
			c.task = a.Value.String()
		} else {
			rest = append(rest, a)
		}
	}
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

// oneLine keeps text from outside from forging a line of its own.
func oneLine(s string) string {
	clean := []rune(s)
	for i, r := range clean {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			clean[i] = ' '
		}
	}
	return string(clean)
}
