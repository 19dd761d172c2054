package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
)

const (
	loadBatch   = 200
	maxDumpLine = 256 << 20
)

// Empty reports whether the database has no tables.
func (db *DB) Empty(ctx context.Context) (bool, error) {
	all, err := tables(db.With(ctx))
	return len(all) == 0, err
}

// Load fills an empty database with the rows of a Dump: it makes the schema of the dump's time, adds
// the rows in one transaction, and migrates the rest.
func (db *DB) Load(ctx context.Context, r io.Reader) error {
	empty, err := db.Empty(ctx)
	if err != nil {
		return err
	}
	if !empty {
		return fault.New(fault.Conflict, "the database is not empty; restore into an empty one")
	}
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 1<<20), maxDumpLine)
	steps, first, err := readMigrations(in)
	if err != nil {
		return err
	}
	if err := db.migrate(ctx, steps); err != nil {
		return err
	}
	err = db.With(ctx).Transaction(func(tx *gorm.DB) (err error) {
		// Rows come table by table, whatever refers to them.
		if err := tx.Exec(db.foreignKeys(false)).Error; err != nil {
			return fmt.Errorf("prepare database: %w", err)
		}
		defer func() { err = errors.Join(err, tx.Exec(db.foreignKeys(true)).Error) }()
		l := loader{tx: tx, in: in}
		return l.run(first)
	})
	if err != nil {
		return fmt.Errorf("load rows: %w", err)
	}
	return db.Migrate(ctx)
}

func (db *DB) foreignKeys(on bool) string {
	switch {
	case db.Dialect == SQLite:
		return "PRAGMA defer_foreign_keys = ON" // until the commit, which checks
	case on:
		return "SET FOREIGN_KEY_CHECKS = 1"
	default:
		return "SET FOREIGN_KEY_CHECKS = 0"
	}
}

// readMigrations reads the dump's head: the ids of its migrations, and the first line after them.
func readMigrations(in *bufio.Scanner) (steps []string, first *line, err error) {
	for in.Scan() {
		l, err := decodeLine(in.Bytes())
		if err != nil {
			return nil, nil, err
		}
		if l.Table != migrationTable {
			first = &l
			break
		}
		if id, ok := l.Row["id"].(string); ok {
			steps = append(steps, id)
		}
	}
	if err := in.Err(); err != nil {
		return nil, nil, fmt.Errorf("read dump: %w", err)
	}
	if len(steps) == 0 {
		return nil, nil, fault.New(fault.Invalid, "the dump does not begin with its migrations; it is damaged")
	}
	return steps, first, nil
}

// loader inserts rows in batches.
type loader struct {
	tx    *gorm.DB
	in    *bufio.Scanner
	table string
	batch []map[string]any
}

func (l *loader) run(first *line) error {
	if first != nil {
		if err := l.add(*first); err != nil {
			return err
		}
	}
	for l.in.Scan() {
		row, err := decodeLine(l.in.Bytes())
		if err != nil {
			return err
		}
		if err := l.add(row); err != nil {
			return err
		}
	}
	if err := l.in.Err(); err != nil {
		return fmt.Errorf("read dump: %w", err)
	}
	return l.flush()
}

func (l *loader) add(row line) error {
	if row.Table != l.table || len(l.batch) == loadBatch {
		if err := l.flush(); err != nil {
			return err
		}
		l.table = row.Table
	}
	l.batch = append(l.batch, row.Row)
	return nil
}

func (l *loader) flush() error {
	if len(l.batch) == 0 {
		return nil
	}
	if err := l.tx.Table(l.table).Create(l.batch).Error; err != nil {
		return fmt.Errorf("table %s: %w", l.table, err)
	}
	l.batch = nil
	return nil
}

func decodeLine(data []byte) (line, error) {
	var l line
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&l); err != nil || l.Table == "" {
		return l, fault.New(fault.Invalid, "a line of the dump is damaged")
	}
	for name, v := range l.Row {
		value, err := decodeValue(v)
		if err != nil {
			return l, fault.Wrap(err, fault.Invalid, "the value of %s.%s in the dump is damaged", l.Table, name)
		}
		l.Row[name] = value
	}
	return l, nil
}

func decodeValue(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case map[string]any:
		if s, ok := v[typeTime].(string); ok {
			return time.Parse(time.RFC3339Nano, s)
		}
		if s, ok := v[typeBytes].(string); ok {
			return base64.StdEncoding.DecodeString(s)
		}
		return nil, errors.New("its type is unknown")
	default:
		return v, nil
	}
}
