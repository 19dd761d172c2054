package migrations

import "github.com/go-gormigrate/gormigrate/v2"

func device() []*gormigrate.Migration { return nil }
