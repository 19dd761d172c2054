package migrations

import "github.com/go-gormigrate/gormigrate/v2"

func catalog() []*gormigrate.Migration { return nil }
