package migrations

import (
	"fmt"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/muster/muster/server/internal/versionkey"
)

func group() []*gormigrate.Migration {
	type manufacturer struct {
		Manufacturer string `gorm:"size:120;not null;default:''"` // from the facts, as the next two
	}
	type product struct {
		Product string `gorm:"size:120;not null;default:''"`
	}
	type virtualisation struct {
		Virtualisation string `gorm:"size:40;not null;default:''"`
	}
	type agentKey struct {
		AgentVersionKey string `gorm:"size:255;not null;default:''"` // of agent_version, sorts as versions do
	}
	type logLevel struct {
		LogGroupLevel string `gorm:"size:10;not null;default:''"` // the most talkative of the device's groups; empty: none
	}
	type versionKey struct {
		VersionKey string `gorm:"size:255;not null;default:''"` // of version, sorts as versions do
	}
	type groupRow struct {
		ID          string    `gorm:"type:char(36);primaryKey"`
		Name        string    `gorm:"size:120;not null"`
		NameKey     string    `gorm:"size:255;not null;uniqueIndex:idx_device_groups_name"` // lower case
		Description string    `gorm:"size:500;not null"`
		Kind        string    `gorm:"size:20;not null"`         // static or search
		Search      string    `gorm:"type:mediumtext;not null"` // JSON; empty for static ones
		Generation  int       `gorm:"not null"`                 // counts the changes of the search
		LogLevel    string    `gorm:"size:10;not null"`         // empty: none
		ReleaseID   string    `gorm:"size:36;not null"`         // empty: none
		CreatedBy   string    `gorm:"size:120;not null"`
		CreatedAt   time.Time `gorm:"not null"`
		UpdatedAt   time.Time `gorm:"not null"`
	}
	type member struct {
		GroupID  string    `gorm:"type:char(36);primaryKey"`
		DeviceID string    `gorm:"type:char(36);primaryKey;index:idx_group_members_device"`
		Member   bool      `gorm:"not null"`                             // false: has left, and not all of Due has heard of it
		Due      int       `gorm:"not null;index:idx_group_members_due"` // bits of what has to be brought in line with it
		Version  int       `gorm:"not null"`                             // counts the changes of the row
		AddedBy  string    `gorm:"size:255;not null"`
		AddedAt  time.Time `gorm:"not null"`
	}
	type tokenGroup struct {
		TokenID string `gorm:"type:char(36);primaryKey"`
		GroupID string `gorm:"type:char(36);primaryKey;index:idx_enrollment_token_groups_group"`
	}
	return []*gormigrate.Migration{
		addColumn("0090_devices_manufacturer", "devices", "Manufacturer", &manufacturer{}),
		addColumn("0091_devices_product", "devices", "Product", &product{}),
		addColumn("0092_devices_virtualisation", "devices", "Virtualisation", &virtualisation{}),
		addColumn("0093_devices_agent_version_key", "devices", "AgentVersionKey", &agentKey{}),
		addColumn("0093_devices_log_group_level", "devices", "LogGroupLevel", &logLevel{}),
		{ID: "0094_devices_fill", Migrate: fillDevices},
		addColumn("0095_software_versions_key", "software_versions", "VersionKey", &versionKey{}),
		{ID: "0096_software_versions_fill", Migrate: fillVersions},
		createTable("0097_device_groups", "device_groups", &groupRow{}),
		createTable("0098_group_members", "group_members", &member{}),
		createTable("0099_enrollment_token_groups", "enrollment_token_groups", &tokenGroup{}),
	}
}

// fillDevices copies from the facts what is searched for, and computes the keys of the agents' versions.
func fillDevices(tx *gorm.DB) error {
	value := "json_extract(facts, '$.%s')"
	if tx.Name() == "mysql" {
		value = "JSON_UNQUOTE(JSON_EXTRACT(facts, '$.%s'))"
	}
	for _, name := range []string{"manufacturer", "product", "virtualisation"} {
		err := tx.Exec("UPDATE devices SET " + name + " = COALESCE(" + fmt.Sprintf(value, name) + ", '') WHERE JSON_VALID(facts)").Error
		if err != nil {
			return err
		}
	}
	var versions []string
	if err := tx.Table("devices").Distinct().Pluck("agent_version", &versions).Error; err != nil {
		return err
	}
	for _, v := range versions {
		err := tx.Table("devices").Where("agent_version = ?", v).UpdateColumn("agent_version_key", versionkey.OfRelease(v)).Error
		if err != nil {
			return err
		}
	}
	return nil
}

// fillVersions computes the keys of the programs' versions, many in one transaction.
func fillVersions(tx *gorm.DB) error {
	last := int64(0)
	for {
		var found []struct {
			ID      int64
			Version string
		}
		if err := tx.Table("software_versions").Where("id > ?", last).Order("id").Limit(500).Find(&found).Error; err != nil {
			return err
		}
		if len(found) == 0 {
			return nil
		}
		err := tx.Transaction(func(tx *gorm.DB) error {
			for _, v := range found {
				err := tx.Table("software_versions").Where("id = ?", v.ID).UpdateColumn("version_key", versionkey.Of(v.Version)).Error
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		last = found[len(found)-1].ID
	}
}
