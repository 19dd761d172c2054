// Package store opens the server's database, SQLite or MySQL/MariaDB, and is the only place that
// knows how they differ: pragmas, connection limits, time precision, retries, migrations.
//
// What Tx has returned without error is on disk: SQLite runs with synchronous=FULL, InnoDB flushes at
// commit. After a crash the database holds all of a transaction or nothing of it. Features import gorm
// only in files named store*.go and take a *DB from their constructor.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
)

// The dialects.
const (
	SQLite = "sqlite"
	MySQL  = "mysql"
)

// DB is an open database.
type DB struct {
	*gorm.DB
	Dialect string // SQLite or MySQL
	log     *slog.Logger
}

// Open opens the database named by url without changing its schema:
//
//	sqlite:///path/file.db
//	mysql://user:password@host:3306/database?tls=true
//
// It returns an error when the database cannot be reached.
func Open(ctx context.Context, url string, log *slog.Logger) (*DB, error) {
	t, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	dial, err := t.dialector()
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	g, err := gorm.Open(dial, &gorm.Config{
		TranslateError: true,
		NowFunc:        Now,
		Logger:         slowQueries{log: log, over: slowQuery},
		// One statement is atomic by itself; what needs more goes through Tx.
		SkipDefaultTransaction: true,
		DisableAutomaticPing:   true,
	})
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", t.name(), err)
	}
	pool, err := g.DB()
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", t.name(), err)
	}
	t.limit(pool)
	if t.dialect == SQLite {
		serialize(g, pool)
	}
	if err := pool.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("reach database %s: %w", t.name(), err), pool.Close())
	}
	return &DB{DB: g, Dialect: t.dialect, log: log}, nil
}

// Now is the present time as both databases keep it: UTC, whole milliseconds.
func Now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// With is a handle whose statements end with ctx.
func (db *DB) With(ctx context.Context) *gorm.DB { return db.WithContext(ctx) }

// Hot is With for the few reads that every contact of a device makes: SQLite keeps them prepared, since
// reading their text would cost more than they do. Never write by it: it would not wait for its turn.
func (db *DB) Hot(ctx context.Context) *gorm.DB {
	return db.Session(&gorm.Session{Context: ctx, PrepareStmt: db.Dialect == SQLite})
}

// Close closes all connections.
func (db *DB) Close() error {
	pool, err := db.DB.DB()
	if err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	if err := pool.Close(); err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	pool, err := db.DB.DB()
	if err != nil {
		return fmt.Errorf("reach database: %w", err)
	}
	if err := pool.PingContext(ctx); err != nil {
		return fault.Wrap(err, fault.Unavailable, "the database does not answer")
	}
	return nil
}

// Tx runs fn in one transaction and commits it unless fn returns an error. On a deadlock or a busy
// database it rolls back and runs fn again, a few times: fn must change nothing but tx and values
// that it sets anew on each run. Transactions do not nest.
func (db *DB) Tx(ctx context.Context, fn func(tx *gorm.DB) error) error {
	var opts sql.TxOptions
	if db.Dialect == MySQL {
		// Each statement sees what is committed by then, so that reading after a lock reads the present.
		opts.Isolation = sql.LevelReadCommitted
	}
	for attempt := 1; ; attempt++ {
		err := db.WithContext(ctx).Transaction(fn, &opts)
		if err == nil || !contended(err) {
			return err
		}
		if attempt == maxAttempts {
			return fault.Wrap(err, fault.Unavailable, "the database is busy; try again later")
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}
