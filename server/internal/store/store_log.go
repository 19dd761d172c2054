package store

import (
	"context"
	"log/slog"
	"time"

	"gorm.io/gorm/logger"
)

const slowQuery = 500 * time.Millisecond

// slowQueries is a gorm logger that reports statements which take long. It logs no errors, since they
// are returned, and no values, since they may be secret.
type slowQueries struct {
	log  *slog.Logger
	over time.Duration
}

func (l slowQueries) LogMode(logger.LogLevel) logger.Interface      { return l }
func (l slowQueries) Info(context.Context, string, ...interface{})  {}
func (l slowQueries) Warn(context.Context, string, ...interface{})  {}
func (l slowQueries) Error(context.Context, string, ...interface{}) {}

func (l slowQueries) ParamsFilter(_ context.Context, sql string, _ ...interface{}) (string, []interface{}) {
	return sql, nil
}

func (l slowQueries) Trace(ctx context.Context, begin time.Time, fc func() (string, int64), _ error) {
	took := time.Since(begin)
	if took < l.over {
		return
	}
	sql, rows := fc()
	l.log.WarnContext(ctx, "slow database statement", "sql", sql, "rows", rows, "took", took.Round(time.Millisecond).String())
}
