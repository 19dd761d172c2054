package store

import (
	"strings"

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
