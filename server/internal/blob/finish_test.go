package blob_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/blob"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

// slowStore opens nothing until it is let go.
type slowStore struct {
	blob.Store
	reading chan struct{} // gets one for each attempt to open
	letGo   chan struct{}
	opened  atomic.Int64
}

func (s *slowStore) Open(ctx context.Context, sum string) (blob.File, int64, error) {
	if s.opened.Add(1) == 1 {
		close(s.reading)
	}
	<-s.letGo
	return s.Store.Open(ctx, sum)
}

// TestFinish_goesOnWithoutTheRequest has archives that take longer to look into than anybody waits.
func TestFinish_goesOnWithoutTheRequest(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for name, c := range map[string]struct {
			data []byte
			want fault.Code
		}{
			"good":    {data: zipOf(t, 1000)},
			"hostile": {data: hostileZip(t), want: fault.Untrusted},
		} {
			t.Run(name, func(t *testing.T) {
				ctx := t.Context()
				e := newEnv(t, db)
				slow := &slowStore{Store: e.dir, reading: make(chan struct{}), letGo: make(chan struct{})}
				s := blob.New(blob.Options{DB: db, Store: slow, Log: slog.New(slog.DiscardHandler), AnswerWithin: 10 * time.Millisecond})
				u, err := s.Create(ctx, "a.zip", int64(len(c.data)))
				require.NoError(t, err)
				_, err = s.Append(ctx, u.ID, 0, bytes.NewReader(c.data))
				require.NoError(t, err)
				digest := sumOf(string(c.data))

				gone, leave := context.WithCancel(ctx)
				first := make(chan error, 1)
				go func() {
					_, err := s.Finish(gone, u.ID, digest)
					first <- err
				}()
				<-slow.reading
				leave()
				require.Error(t, <-first)
				_, err = s.Finish(ctx, u.ID, digest)
				require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
				require.True(t, fault.Retryable(err))
				require.True(t, fault.Is(s.Delete(ctx, u.ID), fault.Conflict), "it is at work")
				close(slow.letGo)

				answer := func() (got blob.Upload) { // AnswerWithin is short: even an answer that is there may come too late
					require.Eventually(t, func() bool {
						got, err = s.Finish(ctx, u.ID, digest)
						return !fault.Is(err, fault.Unavailable)
					}, time.Minute, time.Millisecond)
					return got
				}
				got := answer()
				if c.want != "" {
					require.True(t, fault.Is(err, c.want), "%v", err)
					require.NoError(t, s.Delete(ctx, u.ID))
					return
				}
				require.NoError(t, err)
				require.Equal(t, blob.StateFinished, got.State)
				opened := slow.opened.Load()
				again := answer()
				require.NoError(t, err)
				require.Equal(t, got, again)
				require.Equal(t, opened, slow.opened.Load(), "it was looked into again")
			})
		}
	})
}

// stuckStore opens nothing for as long as it is asked to.
type stuckStore struct {
	blob.Store
	once    sync.Once
	reading chan struct{}
}

func (s *stuckStore) Open(ctx context.Context, _ string) (blob.File, int64, error) {
	s.once.Do(func() { close(s.reading) })
	<-ctx.Done()
	return nil, 0, ctx.Err()
}

// TestFinish_endsWithTheServer: what no request waits for any more must not use the database after its end.
func TestFinish_endsWithTheServer(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		stuck := &stuckStore{Store: newEnv(t, db).dir, reading: make(chan struct{})}
		s := blob.New(blob.Options{DB: db, Store: stuck, Log: slog.New(slog.DiscardHandler)})
		data := zipOf(t, 1000)
		u, err := s.Create(ctx, "a.zip", int64(len(data)))
		require.NoError(t, err)
		_, err = s.Append(ctx, u.ID, 0, bytes.NewReader(data))
		require.NoError(t, err)

		serving, shutDown := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Run(serving)
		}()
		answer := make(chan error, 1)
		go func() {
			_, err := s.Finish(ctx, u.ID, sumOf(string(data)))
			answer <- err
		}()
		<-stuck.reading
		shutDown()
		<-ended
		require.ErrorIs(t, <-answer, context.Canceled)
		_, err = s.Finish(ctx, u.ID, sumOf(string(data)))
		require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
		got, err := s.Upload(ctx, u.ID)
		require.NoError(t, err)
		require.Equal(t, blob.StateOpen, got.State, "it can be finished another time")
	})
}
