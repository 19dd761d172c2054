// Package migrations holds every step that ever changed the schema, oldest first. A step that has been
// released is never edited; its structs are frozen copies, so that later changes of a feature's own
// structs do not reach back. Each step makes one change and can be run again, since MySQL commits a
// change of the schema at once: a step that died after its change must find it and go on.
package migrations

import (
	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"
)

// All lists the steps in order. New steps go to the end of their area's list; ids never change.
func All() []*gormigrate.Migration {
	var all []*gormigrate.Migration
	all = append(all, user()...)
	all = append(all, catalog()...)
	all = append(all, device()...)
	all = append(all, task()...)
	all = append(all, inventory()...)
	all = append(all, event()...)
	all = append(all, log()...)
	all = append(all, release()...)
	all = append(all, update()...)
	all = append(all, group()...)
	return all
}

// addColumn is a step that adds one column to a table, which model describes with that column alone.
func addColumn(id, table, field string, model any) *gormigrate.Migration {
	return &gormigrate.Migration{ID: id, Migrate: func(tx *gorm.DB) error {
		m := tx.Table(table).Migrator()
		if m.HasColumn(model, field) {
			return nil
		}
		return m.AddColumn(model, field)
	}}
}

// createTable is a step that makes one table with the columns and indexes of model.
func createTable(id, table string, model any) *gormigrate.Migration {
	return &gormigrate.Migration{ID: id, Migrate: func(tx *gorm.DB) error {
		if tx.Migrator().HasTable(table) {
			return nil
		}
		return tx.Table(table).Migrator().CreateTable(model)
	}}
}

// addIndex is a step that adds one index, which model describes by its columns, to a table.
func addIndex(id, table, index string, model any) *gormigrate.Migration {
	return &gormigrate.Migration{ID: id, Migrate: func(tx *gorm.DB) error {
		m := tx.Table(table).Migrator()
		if m.HasIndex(model, index) {
			return nil
		}
		return m.CreateIndex(model, index)
	}}
}
