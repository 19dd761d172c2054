package device

import (
	"time"

	"gorm.io/gorm"

	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/versionkey"
)

// Where narrows a query of the table devices to those that the search finds at the time now.
func (s Search) Where(now time.Time) func(*gorm.DB) *gorm.DB {
	return func(tx *gorm.DB) *gorm.DB {
		tx = tx.Scopes(
			store.Contains(s.Query, "devices.hostname", "devices.os_name", "devices.agent_version", "devices.id"),
			store.Contains(s.OSName, "devices.os_name"),
			store.Contains(s.Manufacturer, "devices.manufacturer"),
			store.Contains(s.Product, "devices.product"),
		)
		for _, same := range []struct{ column, value string }{
			{"devices.state", s.State}, {"devices.os", s.OS}, {"devices.arch", s.Arch}, {"devices.agent_version", s.AgentVersion},
		} {
			if same.value != "" {
				tx = tx.Where(same.column+" = ?", same.value)
			}
		}
		if s.OSVersion != "" { // '/' follows '.'
			tx = tx.Where("(devices.os_version = ? OR (devices.os_version > ? AND devices.os_version < ?))", s.OSVersion, s.OSVersion+".", s.OSVersion+"/")
		}
		switch s.Virtualisation {
		case "":
		case physical:
			tx = tx.Where("devices.virtualisation = ''")
		default:
			tx = tx.Where("devices.virtualisation = ?", s.Virtualisation)
		}
		if s.AgentBelow != "" {
			tx = tx.Where("devices.agent_version <> '' AND devices.agent_version_key < ?", versionkey.OfRelease(s.AgentBelow))
		}
		tx = s.times(tx, now)
		return s.software(tx)
	}
}

func (s Search) times(tx *gorm.DB, now time.Time) *gorm.DB {
	for _, bound := range s.bounds() {
		if !bound.at.IsZero() {
			tx = tx.Where(bound.condition, bound.at.UTC().Truncate(time.Millisecond))
		}
	}
	if s.UnseenDays > 0 {
		tx = tx.Where("devices.last_seen_at < ?", now.AddDate(0, 0, -s.UnseenDays))
	}
	return tx
}

// software looks for the titles of the name first, which are few, and then whether the device has one. CROSS JOIN
// holds SQLite to that order, which would look at all programs of each device instead; to MySQL it is a JOIN.
func (s Search) software(tx *gorm.DB) *gorm.DB {
	if s.Software == "" {
		return tx
	}
	has := "SELECT 1 FROM software_titles t CROSS JOIN device_software p ON p.title_id = t.id AND p.device_id = devices.id"
	where, args := " WHERE t.name = ?", []any{s.Software}
	if s.SoftwareVersion != "" || s.SoftwareBelow != "" {
		has += " CROSS JOIN software_versions v ON v.id = p.version_id"
	}
	if s.SoftwareVersion != "" {
		where, args = where+" AND v.version = ?", append(args, s.SoftwareVersion)
	}
	if s.SoftwareBelow != "" {
		where, args = where+" AND v.version_key < ?", append(args, versionkey.Of(s.SoftwareBelow))
	}
	return tx.Where("EXISTS ("+has+where+")", args...)
}
