package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/store/migrations"
)

// migrateWait is how long to wait for another process that is migrating, in seconds.
const migrateWait = 120

// Migrate brings the schema up to date. Of several processes that start at once one migrates and the
// others wait. SQLite migrates in one transaction; MySQL commits each step by itself, and every step
// can be run again.
func (db *DB) Migrate(ctx context.Context) error { return db.migrate(ctx, nil) }

// migrate takes the named steps only, without names all of them. New steps of an area come before older
// ones of the next, so an earlier schema is a set of steps and not a place in their list.
func (db *DB) migrate(ctx context.Context, only []string) error {
	steps := migrations.All()
	if only != nil {
		steps = slices.DeleteFunc(steps, func(m *gormigrate.Migration) bool { return !slices.Contains(only, m.ID) })
	}
	var err error
	switch {
	case only != nil && len(steps) != len(only):
		err = gormigrate.ErrUnknownPastMigration
	case db.Dialect == SQLite:
		err = migrate(db.WithContext(ctx), true, steps)
	default:
		err = db.WithContext(ctx).Connection(func(conn *gorm.DB) error { return migrateLocked(conn, steps) })
	}
	if errors.Is(err, gormigrate.ErrUnknownPastMigration) {
		return fault.Wrap(err, fault.Conflict, "the database was made by a newer version of this program; install that version")
	}
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	return nil
}

func migrate(g *gorm.DB, inTx bool, steps []*gormigrate.Migration) error {
	return gormigrate.New(g, &gormigrate.Options{
		TableName: "migrations", IDColumnName: "id", IDColumnSize: 120,
		UseTransaction: inTx, ValidateUnknownMigrations: true,
	}, steps).Migrate()
}

func migrateLocked(conn *gorm.DB, steps []*gormigrate.Migration) (err error) {
	// A fresh session: conditions of one statement must not reach the next.
	conn = conn.Session(&gorm.Session{NewDB: true}).Set("gorm:table_options", "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin")
	conn = conn.Session(&gorm.Session{})
	const lock = "CONCAT('muster_migrate_', SHA1(DATABASE()))"
	var got int
	if err := conn.Raw("SELECT COALESCE(GET_LOCK("+lock+", ?), 0)", migrateWait).Scan(&got).Error; err != nil {
		return fmt.Errorf("take migration lock: %w", err)
	}
	if got != 1 {
		return fault.New(fault.Unavailable, "another process has been migrating the database for over %d seconds", migrateWait)
	}
	defer func() {
		var freed int
		if e := conn.Raw("SELECT COALESCE(RELEASE_LOCK(" + lock + "), 0)").Scan(&freed).Error; e != nil {
			err = errors.Join(err, fmt.Errorf("release migration lock: %w", e))
		}
	}()
	return migrate(conn, false, steps)
}
