package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

type thing struct {
	ID    string `gorm:"type:char(36);primaryKey"`
	Name  string `gorm:"size:120;uniqueIndex"`
	Count int
	At    time.Time
}

func makeThings(t *testing.T, db *store.DB) {
	t.Helper()
	require.NoError(t, db.Migrator().CreateTable(&thing{}))
}

func TestTx_rollsBackOnError(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		makeThings(t, db)
		err := db.Tx(t.Context(), func(tx *gorm.DB) error {
			require.NoError(t, tx.Create(&thing{ID: "1", Name: "a"}).Error)
			return errors.New("no")
		})
		require.EqualError(t, err, "no")
		var n int64
		require.NoError(t, db.Model(&thing{}).Count(&n).Error)
		require.Zero(t, n)
	})
}

// Two transactions that read and then write the same row must both count.
func TestTx_manyWritersLoseNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		makeThings(t, db)
		require.NoError(t, db.Create(&[]thing{{ID: "1", Name: "a"}, {ID: "2", Name: "b"}}).Error)
		const writers, each = 6, 10
		var wg sync.WaitGroup
		errs := make(chan error, writers*each)
		for w := range writers {
			wg.Go(func() {
				ids := []string{"1", "2"}
				if w%2 == 1 {
					ids = []string{"2", "1"} // the other order: deadlocks are retried
				}
				for range each {
					errs <- db.Tx(t.Context(), func(tx *gorm.DB) error {
						for _, id := range ids {
							if err := tx.Model(&thing{}).Where("id = ?", id).Update("count", gorm.Expr("count + 1")).Error; err != nil {
								return err
							}
						}
						return nil
					})
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		var all []thing
		require.NoError(t, db.Find(&all).Error)
		require.Equal(t, []int{writers * each, writers * each}, []int{all[0].Count, all[1].Count})
	})
}

// Writers that wait hold no connection: readers go on, however many wait, and who gives up waiting leaves no
// turn behind.
func TestTx_waitingWritersLeaveRoomForReaders(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		makeThings(t, db)
		require.NoError(t, db.Create(&[]thing{{ID: "1", Name: "a"}, {ID: "2", Name: "b"}}).Error)
		const waiting = 100 // more than there are connections
		ctx, giveUp := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		begun := make(chan struct{}, waiting)
		require.NoError(t, db.Tx(t.Context(), func(tx *gorm.DB) error {
			if err := tx.Model(&thing{}).Where("id = 1").Update("count", 1).Error; err != nil {
				return err
			}
			if db.Dialect == store.SQLite { // elsewhere rows are locked, and waiting takes a connection
				for range waiting {
					wg.Go(func() {
						begun <- struct{}{}
						_ = db.With(ctx).Model(&thing{}).Where("id = 2").Update("count", 2).Error
					})
				}
				for range waiting {
					<-begun
				}
			}
			for range 20 {
				var found thing
				if err := db.With(t.Context()).Where("id = 2").Take(&found).Error; err != nil {
					return err
				}
			}
			giveUp()
			return nil
		}))
		wg.Wait()
		require.NoError(t, db.Tx(t.Context(), func(tx *gorm.DB) error { return tx.Create(&thing{ID: "3", Name: "c"}).Error }))
		require.NoError(t, db.Create(&thing{ID: "4", Name: "d"}).Error)
	})
}

func TestOpen_translatesDuplicates(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		makeThings(t, db)
		require.NoError(t, db.Create(&thing{ID: "1", Name: "a"}).Error)
		require.ErrorIs(t, db.Create(&thing{ID: "2", Name: "a"}).Error, gorm.ErrDuplicatedKey)
		require.NoError(t, db.Create(&thing{ID: "2", Name: "A"}).Error, "names differ by case on every database")
	})
}

func TestOpen_countsMatchedRows(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		makeThings(t, db)
		require.NoError(t, db.Create(&thing{ID: "1", Name: "a", Count: 4}).Error)
		require.EqualValues(t, 1, db.Model(&thing{}).Where("id = ?", "1").Update("count", 4).RowsAffected)
	})
}

// Times of any zone and precision come back as UTC milliseconds, and compare and sort as times.
func TestOpen_keepsTimesComparable(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		makeThings(t, db)
		base := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		east := time.FixedZone("east", 9*3600)
		times := []time.Time{base, base.Add(500*time.Millisecond + 999*time.Microsecond).In(east), base.Add(time.Second), base.Add(time.Second + 120*time.Millisecond)}
		for i, at := range times {
			require.NoError(t, db.Create(&thing{ID: fmt.Sprint(i), Name: fmt.Sprint(i), At: at}).Error)
		}
		var got []thing
		require.NoError(t, db.Order("at desc").Find(&got, "at > ?", base.In(east)).Error)
		require.Len(t, got, 3)
		require.Equal(t, []string{"3", "2", "1"}, []string{got[0].ID, got[1].ID, got[2].ID})
		require.Equal(t, base.Add(500*time.Millisecond), got[2].At.UTC())
	})
}

func TestContains_ignoresCaseAndPatterns(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		makeThings(t, db)
		require.NoError(t, db.Create(&[]thing{{ID: "1", Name: "Web-Server"}, {ID: "2", Name: "50%_off"}, {ID: "3", Name: "bang!"}, {ID: "4", Name: "Ärzte ÉTÉ"}}).Error)
		for text, want := range map[string][]string{"server": {"1"}, "SERV": {"1"}, "%": {"2"}, "_": {"2"}, "!": {"3"}, "": {"1", "2", "3", "4"}, "Ärzte": {"4"}, "äRZTE": {"4"}, "été": {"4"}, "nothing": {}, "'": {}} {
			got := []string{}
			require.NoError(t, db.Model(&thing{}).Scopes(store.Contains(text, "name", "id")).Order("id").Pluck("id", &got).Error)
			require.Equal(t, want, got, "text %q", text)
		}
	})
}

func TestMigrate_manyAtOnceAndAgain(t *testing.T) {
	t.Parallel()
	for _, dialect := range storetest.Dialects() {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			url := storetest.URL(t, dialect)
			errs := make(chan error)
			for range 4 {
				go func() {
					db, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
					if err == nil {
						err = errors.Join(db.Migrate(t.Context()), db.Migrate(t.Context()), db.Close())
					}
					errs <- err
				}()
			}
			for range 4 {
				require.NoError(t, <-errs)
			}
		})
	}
}

func TestMigrate_refusesNewerDatabase(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		require.NoError(t, db.Exec("INSERT INTO migrations (id) VALUES ('9999_future')").Error)
		err := db.Migrate(t.Context())
		require.ErrorContains(t, err, "newer version")
		require.Equal(t, fault.Conflict, fault.CodeOf(err))
	})
}

func TestOpen_refusesBadAddresses(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                                 "unknown scheme",
		"postgres://x/y":                   "unknown scheme",
		"sqlite://relative.db":             "absolute file path",
		"sqlite:///dir/":                   "absolute file path",
		"sqlite:///a.db?mode=ro":           "no options",
		"mysql://host/db":                  "lacks a user",
		"mysql://u:secret@host/":           "database name",
		"mysql://u:secret@/db":             "lacks a host",
		"mysql://u:secret@h/db?tls=skip":   "unknown option tls=skip",
		"mysql://u:secret@h/db?timeout=1s": "unknown option",
		"mysql://u:secret@h:x/db":          "malformed",
	} {
		_, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, want, url)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestOpen_sqliteFileIsPrivateAndDurable(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/a b%c?.db"
	db, err := store.Open(t.Context(), "sqlite://"+escape(path), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, db.Migrate(t.Context()))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
		var got string
		require.NoError(t, db.Raw("PRAGMA "+pragma).Scan(&got).Error)
		require.Equal(t, want, got, pragma)
	}
}

func TestTx_endsWithContext(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, db.Tx(ctx, func(*gorm.DB) error { return nil }), context.Canceled)
	})
}

func escape(path string) string {
	u := url.URL{Path: path}
	return u.EscapedPath()
}
