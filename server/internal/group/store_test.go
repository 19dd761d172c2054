package group_test

import (
	"context"

	"gorm.io/gorm"

	"github.com/muster/muster/server/internal/software"
	"github.com/muster/muster/server/internal/store"
)

// writeSoftware makes a list what a device has, as an inventory does.
func writeSoftware(ctx context.Context, db *store.DB, deviceID string, list software.List) error {
	return db.Tx(ctx, func(tx *gorm.DB) error {
		if err := software.Lock(tx, deviceID); err != nil {
			return err
		}
		_, err := software.Replace(tx, deviceID, list, software.How{}, store.Now())
		return err
	})
}
