package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/ncruces/go-sqlite3"
)

// maxAttempts bounds how often Tx runs its function.
const maxAttempts = 6

// Server error numbers of MySQL and MariaDB after which the whole transaction may be run again.
const (
	mysqlLockWait = 1205
	mysqlDeadlock = 1213
	mysqlChanged  = 1020 // MariaDB: record has changed since last read
)

// contended reports whether err only says that somebody else was faster.
func contended(err error) bool {
	var m *mysql.MySQLError
	if errors.As(err, &m) {
		return m.Number == mysqlDeadlock || m.Number == mysqlLockWait || m.Number == mysqlChanged
	}
	return errors.Is(err, sqlite3.BUSY) || errors.Is(err, sqlite3.LOCKED)
}

// pause waits 5 ms doubling, with full jitter so that two contenders part.
func pause(ctx context.Context, attempt int) error {
	most := 5 * time.Millisecond << attempt
	t := time.NewTimer(rand.N(most) + time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
