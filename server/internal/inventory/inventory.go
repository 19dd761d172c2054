// Package inventory keeps what devices say they are made of, section by section, and tells what changed.
//
// A device names its sections by digest and sends those that the server does not have. A section's rows,
// what follows from them (the software catalogue, events) and its digest are written in one transaction:
// after a crash the server either has all of it, or asks for the section again. All that devices send is
// hostile: rows are bounded, decoded by their section's type and cleaned before anything is kept. agentapi
// calls it for agents, the admin API reads.
package inventory

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/event"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/software"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/text"
)

// MaxPacked is how many bytes a section may have as it is sent, packed by gzip. Real ones of the greatest
// size have a tenth; both databases take that much in one statement.
const MaxPacked = 6 << 20

// maxKept is how many bytes the sections of one device may have together as they are kept. A computer with
// tens of thousands of programs has a fifth of it.
const maxKept = 16 << 20

// cleaning is the number of the way in which rows are decoded and cleaned here. Who changes that way, or a
// type of protocol, raises it: sections that were kept in another way are asked for again.
const cleaning = 1

// MaxIncomplete is how many sources an Upload may name.
const MaxIncomplete = 64

// notWhole takes the place of cleaning for rows that are not all there: they are asked for at every inventory,
// until they are, and what was kept beside them goes when it is known to have gone.
const notWhole = 0

// forgetAfter is how long a section stays that no inventory names any more. An inventory may be of some
// sections only, so that a section is not named says little.
const forgetAfter = 30 * 24 * time.Hour

// Device is whose inventory it is.
type Device struct {
	ID       string
	Hostname string
}

// Upload is a section as it came.
type Upload struct {
	Section     string
	SHA256      string // of the unpacked lines, as the device says
	CollectedAt time.Time
	Packed      []byte // gzip
	// Incomplete names the sources of software of which the rows are not all there.
	Incomplete []string
}

// Options are what New needs.
type Options struct {
	DB       *store.DB           // required
	Software *software.Service   // required
	Notify   func(hub.Event)     // required
	Spread   func([]event.Event) // required: told of events that are committed
	// DiskLowPercent is how much of a local file system must be free for it not to run low; 10 when zero.
	DiskLowPercent int
	// KeepOfGone is how long the inventory of a device stays that is removed or revoked; 90 days when zero.
	KeepOfGone time.Duration
	Log        *slog.Logger // required by Run
}

// Service is the feature. Make it with New and keep Run running.
type Service struct {
	store *sections
	opt   Options
}

// New makes the service.
func New(o Options) *Service {
	if o.DiskLowPercent <= 0 {
		o.DiskLowPercent = 10
	}
	if o.KeepOfGone <= 0 {
		o.KeepOfGone = 90 * 24 * time.Hour
	}
	return &Service{store: &sections{o.DB}, opt: o}
}

// cleanEvery is how often inventories of devices that are gone are looked for.
const cleanEvery = 6 * time.Hour

// Run removes the inventories of devices that are gone for longer than they are kept, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	ticker := time.NewTicker(cleanEvery)
	defer ticker.Stop()
	for {
		if err := s.Clean(ctx, store.Now()); err != nil && ctx.Err() == nil {
			s.opt.Log.Warn("remove inventories of devices that are gone", "err", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Clean does once what Run does.
func (s *Service) Clean(ctx context.Context, now time.Time) error {
	return s.store.deleteOfGone(ctx, now.Add(-s.opt.KeepOfGone))
}

// Head takes what an inventory found and answers which sections are to be sent. Sections that have a
// problem and no digest keep the rows of the last inventory that had some.
func (s *Service) Head(ctx context.Context, d Device, head protocol.InventoryHead) (protocol.InventoryAnswer, error) {
	answer := protocol.InventoryAnswer{Want: []string{}}
	if err := head.Validate(); err != nil {
		return answer, err
	}
	for i := range head.Sections {
		head.Sections[i].Problem = text.Clean(head.Sections[i].Problem, maxProblem)
	}
	now := store.Now()
	want, events, err := s.store.head(ctx, d, head, now)
	if err != nil {
		return answer, err
	}
	slices.Sort(want)
	answer.Want = append(answer.Want, want...)
	s.told(d, events)
	return answer, nil
}

// Put takes the rows of a section that an inventory has named. The same rows again change nothing. Rows that
// are not what the device says, or that no honest agent sends, are refused.
func (s *Service) Put(ctx context.Context, d Device, u Upload) error {
	now := store.Now()
	u.CollectedAt = collected(u.CollectedAt, now)
	known, columns, err := s.store.confirm(ctx, d.ID, u)
	if err != nil || known {
		return err
	}
	r, err := read(u, columns)
	if err != nil {
		return err
	}
	in := incoming{device: d, upload: u, rows: r, columns: columns, now: now, low: s.opt.DiskLowPercent}
	if u.Section == protocol.SectionSoftware {
		programs := make([]protocol.Software, 0, len(r.values))
		for _, v := range r.values {
			if p, ok := v.(*protocol.Software); ok {
				programs = append(programs, *p)
			}
		}
		if in.software, err = s.opt.Software.Prepare(ctx, programs, now); err != nil {
			return err
		}
	}
	events, err := s.store.put(ctx, in)
	if err != nil {
		return err
	}
	s.told(d, events)
	return nil
}

// DeviceFacts removes the sections of modules that the device says it has no more. Until it says so, a section
// stays, whatever is wrong with its module.
func (s *Service) DeviceFacts(ctx context.Context, deviceID string, facts protocol.Facts) error {
	removed, err := s.store.keepModules(ctx, deviceID, facts.OutsideModules())
	if err == nil && removed > 0 {
		s.opt.Notify(hub.Event{Type: "inventory", ID: deviceID, DeviceID: deviceID})
	}
	return err
}

// told spreads what is committed.
func (s *Service) told(d Device, events []event.Event) {
	s.opt.Notify(hub.Event{Type: "inventory", ID: d.ID, DeviceID: d.ID})
	s.opt.Spread(events)
}

// collected keeps a device's clock within what a database can hold; the future becomes now.
func collected(t, now time.Time) time.Time {
	t = t.UTC().Truncate(time.Millisecond)
	if t.Year() < 2000 || t.After(now) {
		return now
	}
	return t
}

// Section is a section without its rows.
type Section struct {
	Name        string
	Rows        int
	Problem     string // of the newest inventory, and what the server left out
	CollectedAt *time.Time
	ReceivedAt  *time.Time
	NamedAt     time.Time
	Columns     []protocol.Column // of its rows; of a module's section only
}

// Summary is what is shown of a device's inventory at first.
type Summary struct {
	Sections []Section
	System   *protocol.System
	BIOS     *protocol.BIOS
}

// Get returns the sections of a device by name, without rows.
func (s *Service) Get(ctx context.Context, deviceID string) (Summary, error) {
	var out Summary
	rows, err := s.store.list(ctx, deviceID)
	if err != nil {
		return out, err
	}
	for _, r := range rows {
		out.Sections = append(out.Sections, r.section())
		if len(r.Content) == 0 {
			continue
		}
		switch r.Section {
		case protocol.SectionSystem:
			out.System = first[protocol.System](r.Content)
		case protocol.SectionBIOS:
			out.BIOS = first[protocol.BIOS](r.Content)
		}
	}
	return out, nil
}

// Rows returns a section and up to limit of its rows that come after the key and hold the text.
func (s *Service) Rows(ctx context.Context, deviceID, section, query, after string, limit int) (Section, []Row, error) {
	row, err := s.store.get(ctx, deviceID, section)
	if err != nil {
		return Section{}, nil, err
	}
	found, err := search(row.Content, query, after, limit)
	return row.section(), found, err
}

func refuse(format string, args ...any) error {
	return fault.New(fault.Invalid, format, args...)
}
