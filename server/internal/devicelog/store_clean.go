package devicelog

import (
	"context"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/muster/muster/server/internal/store"
)

// cleanLines is how many lines of one device one step removes, so that nobody waits long for the database.
const cleanLines = 500

// clean removes the lines below a key, and the oldest of each device that has more than most.
func (s *lineStore) clean(ctx context.Context, cutoff, most int64) error {
	last := int64(0)
	for {
		var found []sourceRow
		err := s.db.With(ctx).Where("device_no > ? AND kept_lines > 0 AND (oldest_key < ? OR kept_lines > ?)", last, cutoff, most).
			Order("device_no").Limit(chunk).Find(&found).Error
		if err != nil {
			return fmt.Errorf("find old log lines: %w", err)
		}
		for _, f := range found {
			last = f.DeviceNo
			for more := true; more; {
				if more, err = s.cleanStep(ctx, f.DeviceNo, cutoff, most); err != nil {
					return err
				}
			}
		}
		if len(found) < chunk {
			return nil
		}
	}
}

// cleanStep removes some of a device's oldest lines and tells whether there may be more to remove.
func (s *lineStore) cleanStep(ctx context.Context, no, cutoff, most int64) (more bool, err error) {
	err = s.db.Tx(ctx, func(tx *gorm.DB) error {
		held := tx
		if s.db.Dialect == store.MySQL {
			held = tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate})
		}
		var source sourceRow
		if err := held.Where("device_no = ?", no).Take(&source).Error; err != nil {
			return fmt.Errorf("read log of device: %w", err)
		}
		surplus := max(0, source.KeptLines-most)
		var oldest []int64 // one more than may go: the first that stays
		err := tx.Model(&lineRow{}).Where("device_no = ?", no).Order("line_key").Limit(cleanLines+1).Pluck("line_key", &oldest).Error
		if err != nil {
			return fmt.Errorf("find old log lines: %w", err)
		}
		n := 0
		for n < min(len(oldest), cleanLines) && (int64(n) < surplus || oldest[n] < cutoff) {
			n++
		}
		more = n == cleanLines
		if n > 0 {
			if err := tx.Where("device_no = ? AND line_key <= ?", no, oldest[n-1]).Delete(&lineRow{}).Error; err != nil {
				return fmt.Errorf("remove log lines: %w", err)
			}
			if err := tx.Where("device_no = ? AND last_key <= ?", no, oldest[n-1]).Delete(&reportRow{}).Error; err != nil {
				return fmt.Errorf("remove reports of log lines: %w", err)
			}
		}
		source.KeptLines -= int64(n)
		source.OldestKey = source.LastKey
		if n < len(oldest) {
			source.OldestKey = oldest[n]
		}
		values := map[string]any{"kept_lines": source.KeptLines, "oldest_key": source.OldestKey}
		if err := tx.Model(&sourceRow{}).Where("device_no = ?", no).UpdateColumns(values).Error; err != nil {
			return fmt.Errorf("count log lines: %w", err)
		}
		return nil
	})
	return more, err
}
