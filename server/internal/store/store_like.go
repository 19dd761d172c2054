package store

import (
	"bytes"
	"strings"

	"github.com/ncruces/go-sqlite3"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Contains narrows a query to rows where any of the columns holds text, whatever its case. Column
// names come from the code, never from a request. Empty text narrows nothing.
func Contains(text string, columns ...string) func(*gorm.DB) *gorm.DB {
	return func(tx *gorm.DB) *gorm.DB {
		if text == "" {
			return tx
		}
		pattern := "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(strings.ToLower(text)) + "%"
		hits := make([]clause.Expression, len(columns))
		for i, c := range columns {
			hits[i] = clause.Expr{SQL: "LOWER(" + c + ") LIKE ? ESCAPE '!'", Vars: []interface{}{pattern}}
		}
		return tx.Where(clause.Or(hits...))
	}
}

// lowerAllLetters gives a connection to SQLite the LOWER of MySQL: its own knows no letters but those of ASCII, so that
// Contains would find no name with an Ä, however it is written.
func lowerAllLetters(c *sqlite3.Conn) error {
	return c.CreateFunction("lower", 1, sqlite3.DETERMINISTIC|sqlite3.INNOCUOUS, func(ctx sqlite3.Context, arg ...sqlite3.Value) {
		ctx.ResultRawText(bytes.ToLower(arg[0].RawText()))
	})
}
