package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"gorm.io/gorm"
)

// oneWriter lets one change at a time reach SQLite, which has one writer anyway. Those who wait do so here, in
// turn and without a connection: SQLite itself would let them sleep and try again, each holding a connection
// that readers need. Other processes are still kept apart by SQLite.
type oneWriter struct {
	*sql.DB
	turn chan struct{}
}

var (
	_ gorm.ConnPool         = (*oneWriter)(nil)
	_ gorm.ConnPoolBeginner = (*oneWriter)(nil)
	_ gorm.GetDBConnector   = (*oneWriter)(nil)
)

// serialize puts a oneWriter before the connections of g.
func serialize(g *gorm.DB, pool *sql.DB) {
	w := &oneWriter{DB: pool, turn: make(chan struct{}, 1)}
	g.ConnPool, g.Statement.ConnPool = w, w
}

func (w *oneWriter) take(ctx context.Context) (give func(), err error) {
	select {
	case w.turn <- struct{}{}:
		return sync.OnceFunc(func() { <-w.turn }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ExecContext runs one statement in turn.
func (w *oneWriter) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	give, err := w.take(ctx)
	if err != nil {
		return nil, err
	}
	defer give()
	return w.DB.ExecContext(ctx, query, args...)
}

// BeginTx begins a transaction in turn. All of ours write.
func (w *oneWriter) BeginTx(ctx context.Context, opts *sql.TxOptions) (gorm.ConnPool, error) {
	give, err := w.take(ctx)
	if err != nil {
		return nil, err
	}
	tx, err := w.DB.BeginTx(ctx, opts)
	if err != nil {
		give()
		return nil, err
	}
	return &turnTx{Tx: tx, give: give}, nil
}

// GetDBConn is the pool, for its statistics and for who needs a connection of its own.
func (w *oneWriter) GetDBConn() (*sql.DB, error) { return w.DB, nil }

// turnTx gives the turn back at its end.
type turnTx struct {
	*sql.Tx
	give func()
}

var _ gorm.TxCommitter = (*turnTx)(nil)

// Commit ends the transaction.
func (t *turnTx) Commit() error {
	defer t.give()
	return t.Tx.Commit()
}

// Rollback ends the transaction; after a Commit it does nothing.
func (t *turnTx) Rollback() error {
	defer t.give()
	if err := t.Tx.Rollback(); !errors.Is(err, sql.ErrTxDone) {
		return err
	}
	return nil
}
