// Package inventory is the task that takes stock of the computer. It looks at it section by section, reads
// files and system calls directly and starts nothing itself, and keeps nothing on disk: what a crash
// interrupts is collected anew. The task registry of the agent's command line calls it, in a process of its
// own.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/packages/protocol"
)

// Section is what one collector found.
type Section struct {
	Name string
	// Lines are the rows, one JSON object a line, in the order of their keys. An unchanged computer gives
	// equal bytes each time.
	Lines  []byte
	Rows   int
	SHA256 string // of Lines, hex; empty when nothing could be collected because of Problem
	// Problem says why the section, or a part of it, could not be collected.
	Problem string
	// Incomplete names the sources whose rows are not all among Lines because of Problem.
	Incomplete []string
	// Columns describe the rows of a module's section.
	Columns []protocol.Column
}

// Options say what to collect.
type Options struct {
	// Root is where the system's files are, "/" when empty.
	Root string
	// Sections that are wanted; empty for all. Those that this system has not are left out.
	Sections []string
	// Processes says that running programs may be listed.
	Processes bool
	Log       *slog.Logger
	// Software lists the installed programs. What it returns beside an error is kept; an error with a method
	// Incomplete names the sources whose programs are not all there. Without it there is no
	// section of software.
	Software func(ctx context.Context) ([]protocol.Software, error)

	// calls answers the questions that no file answers; unset, the system does.
	calls *calls
}

// calls are the questions to the system that are not files.
type calls struct {
	arch, agent string
	// space is the size of the file system that is mounted at the path, and what of it is free for users
	// without privileges, in bytes.
	space func(path string) (total, free int64, err error)
	// spaceOver tells when the file system that is mounted at the path has taken too long to answer.
	spaceOver func(path string) <-chan time.Time
	// addresses are those of each network interface.
	addresses func() (map[string][]netip.Prefix, error)
}

// host is the computer that collectors look at.
type host struct {
	sysread.Tree
	*calls
}

// Time limits of one collector. After its context has ended it has a moment to return what it has.
const (
	limit         = 10 * time.Second
	softwareLimit = time.Minute
	grace         = 2 * time.Second
	spaceLimit    = 2 * time.Second // a server that is away would make a file system take for ever
)

// collector finds the rows of one section. An error beside rows is told with them.
type collector struct {
	name    string
	limit   time.Duration
	grace   time.Duration // to return what it has, after its context has ended
	collect func(ctx context.Context, h *host) (*lines, error)
}

// rows makes a collector of a function that returns a section's rows.
func rows[T any](name string, find func(ctx context.Context, h *host) ([]T, error)) collector {
	return collector{name: name, limit: limit, grace: grace, collect: func(ctx context.Context, h *host) (*lines, error) {
		found, err := find(ctx, h)
		if found == nil && err != nil {
			return nil, err
		}
		return encode(found), err
	}}
}

// Collect looks at the computer, section by section, one after another. Each collector has its own time
// limit; one that fails, panics or does not come back loses its own section only, and the section says why.
func Collect(ctx context.Context, o Options) []Section {
	list := slices.Clone(collectors)
	if o.Software != nil {
		software := rows(protocol.SectionSoftware, func(ctx context.Context, _ *host) ([]protocol.Software, error) { return o.Software(ctx) })
		software.limit = softwareLimit
		list = append(list, software)
	}
	if !o.Processes {
		list = slices.DeleteFunc(list, func(c collector) bool { return c.name == protocol.SectionProcesses })
	}
	return collect(ctx, o, list)
}

func collect(ctx context.Context, o Options, list []collector) []Section {
	h := &host{Tree: sysread.Tree(o.Root), calls: o.calls}
	if o.Root == "" {
		h.Tree = "/"
	}
	if h.calls == nil {
		h.calls = &calls{
			arch: runtime.GOARCH, agent: buildinfo.Version, space: space, spaceOver: func(string) <-chan time.Time { return time.After(spaceLimit) }, addresses: addresses,
		}
	}
	var sections []Section
	for _, c := range list {
		if len(o.Sections) > 0 && !slices.Contains(o.Sections, c.name) {
			continue
		}
		begun := time.Now()
		s := c.section(ctx, h)
		if o.Log != nil {
			o.Log.Debug("collected a section of the inventory", "section", s.Name, "rows", s.Rows, "bytes", len(s.Lines),
				"problem", s.Problem, "duration", time.Since(begun))
		}
		sections = append(sections, s)
	}
	return sections
}

// outcome is what a collector came back with.
type outcome struct {
	lines *lines
	err   error
}

// section runs the collector in a goroutine of its own, which is left behind when it does not come back;
// it ends with the task's process at the latest.
func (c collector) section(ctx context.Context, h *host) Section {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	result := make(chan outcome, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				result <- outcome{err: fmt.Errorf("the collector of %s failed: %v at %s", c.name, v, culprit(debug.Stack()))}
			}
		}()
		l, err := c.collect(ctx, h)
		result <- outcome{lines: l, err: err}
	}()
	s := Section{Name: c.name}
	var out outcome
	select {
	case out = <-result:
	case <-ctx.Done():
		late := time.NewTimer(c.grace)
		defer late.Stop()
		select {
		case out = <-result:
		case <-late.C:
			out.err = fmt.Errorf("the collector of %s did not come back within %s", c.name, c.limit)
		}
	}
	if out.lines != nil {
		s.Lines, s.Rows, s.SHA256 = out.lines.data, out.lines.rows, out.lines.digest()
		s.Problem = out.lines.problem
	}
	if out.err != nil {
		s.Problem = sysread.Clean(strings.ReplaceAll(out.err.Error(), "\n", "; ")) // several are joined by lines
		var partial interface {
			error
			Incomplete() []string
		}
		if errors.As(out.err, &partial) {
			s.Incomplete = partial.Incomplete()
		}
	}
	if s.SHA256 == "" && s.Problem == "" {
		s.Problem = fmt.Sprintf("the collector of %s returned nothing", c.name)
	}
	return s
}
