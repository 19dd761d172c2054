// Package software lists the programs that are installed on this computer, as the package managers and
// registries of the system know them, and uninstalls some of them.
//
// The list is read from their own files; only rpm, whose database has three formats, is asked by its command.
// Listing changes nothing and keeps nothing. All that is read is treated as hostile: files, lines, rows and
// texts are bounded, nothing but regular files is read, and a source that is damaged loses its own rows only.
// The inventory task calls List for the section software, the deploy task calls Installed for detection by
// name.
//
// The uninstall task, in the files named after it, is carried out in a process of its own. What it has begun
// and done stands in its attempt's journal; after a crash it looks at the list anew and goes on.
package software

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// Options of List. The zero value lists the software of this computer.
type Options struct {
	// Root is the folder whose software is listed; empty is the computer's own root. Below another root
	// symbolic links that lead out of it are not followed.
	Root string
	// Run starts a command that only reads, and returns its standard output. Nil starts it through package
	// proc for at most a minute. What is returned beside an error is used, too.
	Run func(ctx context.Context, name string, args ...string) ([]byte, error)
	// Log takes what is worth a remark but no error; nil discards it.
	Log *slog.Logger
}

// source is one place that knows of installed software. read reports what it finds with scan.add; what
// this system does not have is no error.
type source struct {
	name string
	read func(*scan) error
	// system marks the sources that a system itself is made of; the others come beside it.
	system bool
}

// PartialError says which sources could not be read, wholly or in part.
type PartialError struct {
	Sources []string
	Err     error // why, source by source
}

// Error says why, source by source.
func (e *PartialError) Error() string { return e.Err.Error() }

// Unwrap returns the reasons.
func (e *PartialError) Unwrap() error { return e.Err }

// Incomplete names the sources.
func (e *PartialError) Incomplete() []string { return e.Sources }

// commandLimit is how long a command may take.
const commandLimit = time.Minute

// List returns what is installed, sorted by key, each key once. Equal systems give equal lists. The error, a
// PartialError, names every source that could not be read, wholly or in part; the rows of the others, and what could be
// read of that one, are returned beside it. Only the end of ctx returns no rows.
func List(ctx context.Context, o Options) ([]protocol.Software, error) {
	rows, _, err := list(ctx, o, sources())
	return rows, err
}

// Installed returns the programs of a name, by what people or their source call them, that are installed as
// they should be. The error is a fault of code unsupported where no source exists, and names the system's
// own sources that could not be read when nothing was found: the program may be in there.
func Installed(ctx context.Context, o Options, name string) ([]protocol.Software, error) {
	all := sources()
	rows, present, err := list(ctx, o, all)
	if rows == nil {
		return nil, err
	}
	if len(present) == 0 && err == nil {
		return nil, fault.New(fault.Unsupported, "this device (%s) has no list of installed software that is known here", runtime.GOOS)
	}
	rows = slices.DeleteFunc(rows, func(row protocol.Software) bool {
		ref, err := Parse(row.Key)
		return row.Condition != "" || row.Name != name && (err != nil || ref.Name != name)
	})
	if len(rows) > 0 || err == nil {
		return rows, nil
	}
	if o.Log != nil {
		o.Log.Info("not all lists of installed software can be read", "err", err)
	}
	own := slices.DeleteFunc(all, func(src source) bool { return !src.system })
	_, _, err = list(ctx, o, own)
	return nil, err
}

func list(ctx context.Context, o Options, from []source) ([]protocol.Software, []string, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Run == nil {
		o.Run = run
	}
	files, err := openTree(o.Root)
	if err != nil {
		return nil, nil, fmt.Errorf("list software: %w", err)
	}
	defer files.close()
	s := &scan{ctx: ctx, Options: o, tree: files, rows: []protocol.Software{}}
	s.distribution = readDistribution(files)
	var problems []error
	var partial, present []string
	for _, src := range from {
		s.source, s.found, s.dropped = src.name, false, 0
		err := s.guarded(src.read)
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("list software: %w", context.Cause(ctx))
		}
		if s.found {
			present = append(present, src.name)
		}
		if err == nil && s.dropped > 0 {
			err = fault.New(fault.TooLarge, "programs that were left out: %d", s.dropped)
		}
		if err != nil {
			problems, partial = append(problems, fmt.Errorf("%s: %w", src.name, err)), append(partial, src.name)
		}
	}
	slices.SortFunc(s.rows, compare)
	s.rows = slices.CompactFunc(s.rows, func(a, b protocol.Software) bool { return a.Key == b.Key })
	slices.Sort(present)
	if len(problems) > 0 {
		return s.rows, present, &PartialError{Sources: partial, Err: errors.Join(problems...)}
	}
	return s.rows, present, nil
}

// compare orders rows by key, and rows of one key, which a damaged database may hold, by the rest.
func compare(a, b protocol.Software) int {
	installed := func(s protocol.Software) int64 {
		if s.InstalledAt == nil {
			return 0
		}
		return s.InstalledAt.Unix()
	}
	return cmp.Or(strings.Compare(a.Key, b.Key), cmp.Compare(installed(b), installed(a)), strings.Compare(a.Condition, b.Condition),
		cmp.Compare(b.SizeBytes, a.SizeBytes), strings.Compare(a.Summary, b.Summary), strings.Compare(a.Publisher, b.Publisher))
}

// scan is one run of List.
type scan struct {
	Options
	ctx  context.Context
	tree *tree
	distribution
	source string // the one that is read now
	// found is set once the source has turned out to exist here.
	found   bool
	rows    []protocol.Software
	bytes   int
	dropped int // rows of the source that did not fit
}

// guarded reads a source; its panic is its own failure.
func (s *scan) guarded(read func(*scan) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Internal, "the reader of this source failed: %v", p)
			s.Log.Error("a source of software made its reader panic", "source", s.source, "panic", p)
		}
	}()
	return read(s)
}

// Bounds of a row's texts, in bytes, so that rows beyond number do not make a section too large.
const (
	maxName    = 200
	maxVersion = 150
	maxText    = 300
	maxKey     = 512 // as the protocol's
	rowBase    = 200 // what a row's JSON has beside its texts, at most
)

// add takes a row of the source that is read now. ref tells its key; the row's texts are cleaned here.
func (s *scan) add(ref Ref, row protocol.Software) {
	s.found = true
	ref.Source = s.source
	row.Source = s.source
	row.Name, row.Version, row.Arch = clean(row.Name, maxName), clean(row.Version, maxVersion), clean(row.Arch, 40)
	row.Publisher, row.Summary = clean(row.Publisher, maxText), clean(row.Summary, maxText)
	row.Condition = clean(row.Condition, 60)
	row.Key = ref.String()
	row.SizeBytes = max(row.SizeBytes, 0)
	size := rowBase + len(row.Key) + len(row.Name) + len(row.Version) + len(row.Publisher) + len(row.Summary)
	if _, err := Parse(row.Key); err != nil || row.Name == "" || len(s.rows) >= protocol.MaxSectionRows || s.bytes+size > protocol.MaxSectionBytes {
		s.dropped++
		return
	}
	s.bytes += size
	s.rows = append(s.rows, row)
}

// run is the Run of Options for this computer.
func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, code, err := proc.Output(ctx, append([]string{name}, args...), os.TempDir(), nil, commandLimit)
	if err == nil && code != 0 {
		err = fmt.Errorf("run %s: exit code %d", name, code)
	}
	return out, err
}

// seconds makes a time of seconds since 1970; nil when it is none that a clock could have shown.
func seconds(unix int64) *time.Time {
	const year3000 = 32503680000
	if unix <= 0 || unix >= year3000 {
		return nil
	}
	t := time.Unix(unix, 0).UTC()
	return &t
}

// date reads a time in UTC; nil when it is none.
func date(layout, text string) *time.Time {
	t, err := time.Parse(layout, strings.TrimSpace(text))
	if err != nil {
		return nil
	}
	return seconds(t.Unix())
}
