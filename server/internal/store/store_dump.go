package store

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
)

// migrationTable lists the steps that have run.
const migrationTable = "migrations"

// Snapshot writes a consistent copy of a SQLite database to a new file while others write on.
func (db *DB) Snapshot(ctx context.Context, path string) error {
	if err := db.With(ctx).Exec("VACUUM INTO ?", path).Error; err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	return nil
}

// line is one row of a dump.
type line struct {
	Table string         `json:"table"`
	Row   map[string]any `json:"row"`
}

// Values that JSON has no type for are objects with one of these keys.
const (
	typeTime  = "time"
	typeBytes = "bytes"
)

// Dump writes all rows of all tables as JSON lines, all as of one moment. Load reads them into either
// kind of database.
func (db *DB) Dump(ctx context.Context, w io.Writer) error {
	opts := &sql.TxOptions{ReadOnly: true}
	if db.Dialect == MySQL {
		opts.Isolation = sql.LevelRepeatableRead
	}
	return db.With(ctx).Transaction(func(tx *gorm.DB) error {
		all, err := tables(tx)
		if err != nil {
			return err
		}
		out := bufio.NewWriterSize(w, 1<<20)
		for _, table := range all {
			if err := dumpTable(tx, table, out); err != nil {
				return fmt.Errorf("dump table %s: %w", table, err)
			}
		}
		return out.Flush()
	}, opts)
}

// tables lists the tables, the list of migrations first: Load needs it before any row.
func tables(tx *gorm.DB) ([]string, error) {
	all, err := tx.Migrator().GetTables()
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	all = slices.DeleteFunc(all, func(t string) bool { return strings.HasPrefix(t, "sqlite_") })
	slices.SortFunc(all, func(a, b string) int {
		if (a == migrationTable) != (b == migrationTable) {
			if a == migrationTable {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return all, nil
}

func dumpTable(tx *gorm.DB, table string, w io.Writer) (err error) {
	rows, err := tx.Table(table).Rows()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	values, targets := make([]any, len(types)), make([]any, len(types))
	for i := range values {
		targets[i] = &values[i]
	}
	enc := json.NewEncoder(w)
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		row := make(map[string]any, len(types))
		for i, t := range types {
			row[t.Name()] = encodeValue(values[i], t.DatabaseTypeName())
		}
		if err := enc.Encode(line{Table: table, Row: row}); err != nil {
			return err
		}
	}
	return rows.Err()
}

func encodeValue(v any, columnType string) any {
	switch v := v.(type) {
	case time.Time:
		return map[string]any{typeTime: v.UTC().Format(time.RFC3339Nano)}
	case []byte:
		columnType = strings.ToUpper(columnType)
		if strings.Contains(columnType, "BLOB") || strings.Contains(columnType, "BINARY") {
			return map[string]any{typeBytes: base64.StdEncoding.EncodeToString(v)}
		}
		return string(v)
	default:
		return v
	}
}
