package software

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/store"
)

// Filter narrows List; empty fields do not. After tells of the last title seen.
type Filter struct {
	Query     string
	Source    string
	ByDevices bool     // most devices first, else by name
	Unused    bool     // also titles that no device has any more
	After     []string // devices, name, id
	Limit     int
}

// number reads the number of a cursor. What is none came from nobody's answer.
//
//fuzz:by server/internal/httpapi.FuzzRequests
func number(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fault.Field("query.cursor", "the cursor is not one of this list; begin with the first page")
	}
	return n, nil
}

// List returns titles.
func (s *Service) List(ctx context.Context, f Filter) ([]Title, error) {
	tx := s.store.db.With(ctx).Scopes(store.Contains(f.Query, "name", "publisher", "purl")).Limit(f.Limit)
	if f.Source != "" {
		tx = tx.Where("source = ?", f.Source)
	}
	if !f.Unused {
		tx = tx.Where("devices > 0")
	}
	if f.ByDevices {
		tx = tx.Order("devices DESC, name, id")
	} else {
		tx = tx.Order("name, id")
	}
	if f.After != nil {
		devices, err := number(f.After[0])
		if err != nil {
			return nil, err
		}
		id, err := number(f.After[2])
		if err != nil {
			return nil, err
		}
		const later = "(name > ? OR (name = ? AND id > ?))"
		if f.ByDevices {
			tx = tx.Where("(devices < ? OR (devices = ? AND "+later+"))", devices, devices, f.After[1], f.After[1], id)
		} else {
			tx = tx.Where(later, f.After[1], f.After[1], id)
		}
	}
	var found []titleRow
	if err := tx.Find(&found).Error; err != nil {
		return nil, fmt.Errorf("list software: %w", err)
	}
	out := make([]Title, len(found))
	for i, r := range found {
		out[i] = r.title()
	}
	return out, nil
}

// Title is a program of one source.
type Title struct {
	ID          int64
	Source      string
	PURL        string // without version; the name where the source has no package URL
	Name        string
	Publisher   string
	Summary     string
	Devices     int
	FirstSeenAt time.Time
}

func (r titleRow) title() Title {
	return Title{r.ID, r.Source, r.PURL, r.Name, r.Publisher, r.Summary, r.Devices, r.FirstSeenAt}
}

// Version is one version of a title.
type Version struct {
	Version     string
	Devices     int
	FirstSeenAt time.Time
}

// versionsShown is how many versions of a title are shown, those of most devices first.
const versionsShown = 500

// Get returns a title and its versions, those that most devices have first.
func (s *Service) Get(ctx context.Context, id string) (Title, []Version, error) {
	row, err := s.store.title(ctx, id)
	if err != nil {
		return Title{}, nil, err
	}
	var found []versionRow
	err = s.store.db.With(ctx).Where("title_id = ?", row.ID).Order("devices DESC, id DESC").Limit(versionsShown).Find(&found).Error
	if err != nil {
		return Title{}, nil, fmt.Errorf("read versions of software: %w", err)
	}
	versions := make([]Version, len(found))
	for i, v := range found {
		versions[i] = Version{v.Version, v.Devices, v.FirstSeenAt}
	}
	return row.title(), versions, nil
}

// title finds a title by the id of the API.
//
//fuzz:by server/internal/httpapi.FuzzRequests
func (c *catalogue) title(ctx context.Context, id string) (titleRow, error) {
	var row titleRow
	none := fault.New(fault.NotFound, "there is no software %.40q", id)
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != id {
		return row, none
	}
	err = c.db.With(ctx).Where("id = ?", n).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return row, none
	}
	if err != nil {
		return row, fmt.Errorf("read software: %w", err)
	}
	return row, nil
}

// Installed is a program on a device.
type Installed struct {
	DeviceID    string
	Hostname    string
	State       string // of the device
	SoftwareKey string
	TitleID     int64
	Source      string
	Name        string
	Publisher   string
	Summary     string
	Version     string
	Arch        string
	SizeBytes   int64
	InstalledAt *time.Time
	Essential   bool
	Defect      string
	FirstSeenAt time.Time
}

func (c *catalogue) installed(ctx context.Context) *gorm.DB {
	return c.db.With(ctx).Table("device_software AS s").
		Select("s.device_id, d.hostname, d.state, s.software_key, s.title_id, t.source, t.name, t.publisher, t.summary, v.version, " +
			"s.arch, s.size_bytes, s.installed_at, s.essential, s.defect, s.first_seen_at").
		Joins("JOIN software_titles t ON t.id = s.title_id").
		Joins("JOIN software_versions v ON v.id = s.version_id").
		Joins("JOIN devices d ON d.id = s.device_id")
}

// DevicesFilter narrows Devices; empty fields do not. After holds host name, device and key of the last seen.
type DevicesFilter struct {
	Query   string // part of the host name
	Version *string
	After   []string
	Limit   int
}

// Devices lists who has a title, by host name. A device is there once for each form that it has.
func (s *Service) Devices(ctx context.Context, id string, f DevicesFilter) ([]Installed, error) {
	row, err := s.store.title(ctx, id)
	if err != nil {
		return nil, err
	}
	tx := s.store.installed(ctx).Where("s.title_id = ?", row.ID).Scopes(store.Contains(f.Query, "d.hostname")).
		Order("d.hostname, s.device_id, s.software_key").Limit(f.Limit)
	if f.Version != nil {
		tx = tx.Where("v.version = ?", *f.Version)
	}
	if a := f.After; a != nil {
		tx = tx.Where("(d.hostname > ? OR (d.hostname = ? AND (s.device_id > ? OR (s.device_id = ? AND s.software_key > ?))))",
			a[0], a[0], a[1], a[1], a[2])
	}
	var found []Installed
	if err := tx.Find(&found).Error; err != nil {
		return nil, fmt.Errorf("list devices of software: %w", err)
	}
	return found, nil
}

// DeviceFilter narrows OfDevice; empty fields do not. After holds name and key of the last program seen.
type DeviceFilter struct {
	Query  string
	Source string
	After  []string
	Limit  int
}

// OfDevice lists what a device has, by name.
func (s *Service) OfDevice(ctx context.Context, deviceID string, f DeviceFilter) ([]Installed, error) {
	if err := s.store.device(ctx, deviceID); err != nil {
		return nil, err
	}
	tx := s.store.installed(ctx).Where("s.device_id = ?", deviceID).
		Scopes(store.Contains(f.Query, "t.name", "t.publisher", "t.summary", "v.version", "s.software_key")).
		Order("t.name, s.software_key").Limit(f.Limit)
	if f.Source != "" {
		tx = tx.Where("t.source = ?", f.Source)
	}
	if f.After != nil {
		tx = tx.Where("(t.name > ? OR (t.name = ? AND s.software_key > ?))", f.After[0], f.After[0], f.After[1])
	}
	var found []Installed
	if err := tx.Find(&found).Error; err != nil {
		return nil, fmt.Errorf("list software of device: %w", err)
	}
	return found, nil
}

// device makes sure that there is the device.
func (c *catalogue) device(ctx context.Context, id string) error {
	var n int64
	if err := c.db.With(ctx).Table("devices").Where("id = ?", id).Count(&n).Error; err != nil {
		return fmt.Errorf("read device: %w", err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "there is no device %.40q", id)
	}
	return nil
}

// History lists the newest changes of a title over all devices; before is the id of the last one seen.
func (s *Service) History(ctx context.Context, id, before string, limit int) ([]Change, error) {
	row, err := s.store.title(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.store.history(ctx, "h.title_id = ?", row.ID, before, limit)
}

// DeviceHistory lists the newest changes on a device; before is the id of the last one seen.
func (s *Service) DeviceHistory(ctx context.Context, deviceID, before string, limit int) ([]Change, error) {
	if err := s.store.device(ctx, deviceID); err != nil {
		return nil, err
	}
	return s.store.history(ctx, "h.device_id = ?", deviceID, before, limit)
}

func (c *catalogue) history(ctx context.Context, where string, value any, before string, limit int) ([]Change, error) {
	tx := c.db.With(ctx).Table("software_history AS h").
		Select("h.id, h.device_id, d.hostname, h.title_id, t.name, h.kind, h.from_version AS `from`, h.to_version AS `to`, h.arch, h.time").
		Joins("JOIN software_titles t ON t.id = h.title_id").Joins("JOIN devices d ON d.id = h.device_id").
		Where(where, value).Order("h.id DESC").Limit(limit)
	if before != "" {
		tx = tx.Where("h.id < ?", before)
	}
	var found []Change
	if err := tx.Find(&found).Error; err != nil {
		return nil, fmt.Errorf("list changes of software: %w", err)
	}
	return found, nil
}
