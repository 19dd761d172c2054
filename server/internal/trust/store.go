package trust

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/store"
)

type documentRow struct {
	Version   int `gorm:"primaryKey;autoIncrement:false"`
	Envelope  string
	CreatedAt time.Time
}

func (documentRow) TableName() string { return "trust_documents" }

type rows struct{ db *store.DB }

// all lists the envelopes, oldest first.
func (r rows) all(ctx context.Context) ([]string, error) {
	var list []string
	if err := r.db.With(ctx).Model(&documentRow{}).Order("version").Pluck("envelope", &list).Error; err != nil {
		return nil, fmt.Errorf("list trust documents: %w", err)
	}
	return list, nil
}

// add stores a document; a fault of code conflict when its version is there already.
func (r rows) add(ctx context.Context, version int, envelope string, now time.Time) error {
	err := r.db.With(ctx).Create(&documentRow{Version: version, Envelope: envelope, CreatedAt: now}).Error
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return fault.New(fault.Conflict, "trust document %d was published by another server meanwhile", version)
	}
	if err != nil {
		return fmt.Errorf("store trust document: %w", err)
	}
	return nil
}

// remove deletes documents.
func (r rows) remove(ctx context.Context, versions []int) error {
	if err := r.db.With(ctx).Where("version IN ?", versions).Delete(&documentRow{}).Error; err != nil {
		return fmt.Errorf("delete trust documents: %w", err)
	}
	return nil
}
