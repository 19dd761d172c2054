package store_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/migrations"
	"github.com/muster/muster/server/internal/store/storetest"
)

// Dumps of schemas that were released, with a few rows, stay in testdata/schema for ever: each is
// upgraded and must become what a fresh database is. A release that adds steps adds its own dump:
//
//	go test ./server/internal/store -run TestUpgrade -update
//
// It writes the files of the present number of steps only; older ones are never written again.
var update = flag.Bool("update", false, "write the dump of the present schema to testdata/schema")

const schemaDir = "testdata/schema"

func TestUpgrade(t *testing.T) {
	t.Parallel()
	for _, dialect := range storetest.Dialects() {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			fresh := storetest.Open(t, dialect)
			want := schema(t, fresh)
			if *update {
				writeDump(t, fresh, want)
			}
			dumps, err := filepath.Glob(filepath.Join(schemaDir, "steps-*."+dialect+".sql"))
			require.NoError(t, err)
			require.NotEmpty(t, dumps, "the first released schema is never removed")
			for _, file := range dumps {
				old, err := store.Open(t.Context(), storetest.URL(t, dialect), slog.New(slog.DiscardHandler))
				require.NoError(t, err)
				defer func() { require.NoError(t, old.Close()) }()
				statements := readDump(t, file)
				for _, s := range statements {
					require.NoError(t, old.Exec(s).Error, "%s: %s", file, s)
				}
				before := counts(t, old)
				require.NoError(t, old.Migrate(t.Context()), file)
				require.Equal(t, want, schema(t, old), "%s upgraded is not what a fresh database is", file)
				after := counts(t, old)
				for table, n := range before {
					require.Positive(t, n, "%s: %s", file, table)
					if table != "migrations" {
						require.Equal(t, n, after[table], "%s: rows of %s", file, table)
					}
				}
			}
		})
	}
}

// schema lists the statements that make the database's tables and indexes.
func schema(t *testing.T, db *store.DB) []string {
	t.Helper()
	var statements []string
	if db.Dialect == store.SQLite {
		err := db.Raw("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type = 'index', name").
			Scan(&statements).Error
		require.NoError(t, err)
		return statements
	}
	next := regexp.MustCompile(` AUTO_INCREMENT=\d+`) // a figure about rows
	for _, table := range tables(t, db) {
		var name, statement string
		require.NoError(t, db.Raw("SHOW CREATE TABLE `"+table+"`").Row().Scan(&name, &statement))
		statements = append(statements, next.ReplaceAllString(statement, ""))
	}
	return statements
}

func tables(t *testing.T, db *store.DB) []string {
	t.Helper()
	all, err := db.Migrator().GetTables()
	require.NoError(t, err)
	slices.Sort(all)
	return slices.DeleteFunc(all, func(name string) bool { return strings.HasPrefix(name, "sqlite_") })
}

func counts(t *testing.T, db *store.DB) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	for _, table := range tables(t, db) {
		var n int64
		require.NoError(t, db.Table(table).Count(&n).Error)
		out[table] = n
	}
	return out
}

const statementEnd = ";\n"

func readDump(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	statements := strings.Split(string(data), statementEnd)
	require.Empty(t, statements[len(statements)-1])
	return statements[:len(statements)-1]
}

// writeDump writes the present schema, its list of steps and two rows of each table, with and without
// what may be absent.
func writeDump(t *testing.T, db *store.DB, schema []string) {
	t.Helper()
	statements := slices.Clone(schema)
	for _, m := range migrations.All() {
		statements = append(statements, "INSERT INTO `migrations` (`id`) VALUES ('"+m.ID+"')")
	}
	for _, table := range tables(t, db) {
		if table == "migrations" {
			continue
		}
		types, err := db.Migrator().ColumnTypes(table)
		require.NoError(t, err)
		for row := range 2 {
			var names, values []string
			for _, c := range types {
				names = append(names, "`"+c.Name()+"`")
				nullable, _ := c.Nullable()
				if row == 1 && nullable {
					values = append(values, "NULL")
				} else {
					values = append(values, sample(c.Name(), c.DatabaseTypeName(), row))
				}
			}
			statements = append(statements, fmt.Sprintf("INSERT INTO `%s` (%s) VALUES (%s)", table, strings.Join(names, ","), strings.Join(values, ",")))
		}
	}
	require.NoError(t, os.MkdirAll(schemaDir, 0o755))
	file := filepath.Join(schemaDir, fmt.Sprintf("steps-%02d.%s.sql", len(migrations.All()), db.Dialect))
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(statements, statementEnd)+statementEnd), 0o644))
}

// samples are what columns hold whose text has a form.
func samples() map[string]string {
	return map[string]string{
		"action": "execute", "actor_kind": "session", "details": `{"name":"a"}`, "entries": `[]`, "envelope": `{}`,
		"facts": `{"hostname":"pc-1"}`, "priority": "5", "reason": "exit_code", "source": "device",
		"spec": `{"name":"tool","version":"1.0","action":"execute","command":["/bin/true"]}`, "state": "active",
	}
}

// sample is a literal that both databases take.
func sample(column, kind string, row int) string {
	kind = strings.ToLower(kind)
	text, known := samples()[column]
	switch {
	case strings.Contains(kind, "blob"), strings.Contains(kind, "binary"):
		return "x'00ff'"
	case strings.Contains(kind, "date"), strings.Contains(kind, "time"):
		return fmt.Sprintf("'2026-01-0%dT03:04:05.678'", row+1)
	case strings.Contains(kind, "char"), strings.Contains(kind, "text"):
		if !known {
			text = fmt.Sprintf("%.28s-%d", column, row)
		}
		return "'" + text + "'"
	case column == "id": // 0 would ask MySQL for the next number
		return fmt.Sprint(row + 1)
	default:
		return fmt.Sprint(row)
	}
}
