package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/server/internal/store"
)

// Options are what a Service needs. Actor names who makes a request, Notify tells browsers that an
// upload changed; both may be nil.
type Options struct {
	DB     *store.DB
	Store  Store
	Log    *slog.Logger
	Now    func() time.Time // store.Now when nil
	Actor  func(context.Context) string
	Notify func(uploadID string)
	// AnswerWithin is how long Finish waits for what it began; 45 s when 0.
	AnswerWithin time.Duration
}

// Service takes uploads and collects what nothing refers to.
type Service struct {
	rows   rows
	store  Store
	log    *slog.Logger
	now    func() time.Time
	actor  func(context.Context) string
	notify func(string)

	answerWithin time.Duration

	mu        sync.Mutex
	busy      map[string]bool       // uploads that a request is writing to
	finishing map[string]*finishing // by upload and digest

	looking chan struct{} // a place for each archive that is looked into
	work    sync.WaitGroup
	life    context.Context // of what Finish began; ends with Run
	stop    context.CancelFunc
}

// New makes the Service.
func New(o Options) *Service {
	s := &Service{rows: rows{o.DB}, store: o.Store, log: o.Log, now: o.Now, actor: o.Actor, notify: o.Notify, answerWithin: o.AnswerWithin, busy: map[string]bool{}, finishing: map[string]*finishing{}, looking: make(chan struct{}, lookAtOnce)}
	s.life, s.stop = context.WithCancel(context.Background())
	if s.now == nil {
		s.now = store.Now
	}
	if s.answerWithin == 0 {
		s.answerWithin = answerWithin
	}
	if s.actor == nil {
		s.actor = func(context.Context) string { return "" }
	}
	if s.notify == nil {
		s.notify = func(string) {}
	}
	return s
}

// Store is where the blobs are, for reading.
func (s *Service) Store() Store { return s.store }

// Keep stores data durably and returns its digest. The caller refers to it within the hour.
func (s *Service) Keep(ctx context.Context, data []byte) (string, error) {
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	return digest, s.put(ctx, digest, data)
}

// put claims a blob and stores it.
func (s *Service) put(ctx context.Context, digest string, data []byte) error {
	if err := s.rows.claim(ctx, digest, int64(len(data)), s.now()); err != nil {
		return err
	}
	return s.store.Put(ctx, digest, bytes.NewReader(data))
}

// Run collects garbage until ctx ends, and then ends what Finish began. Errors are logged: the next round
// tries again.
func (s *Service) Run(ctx context.Context) {
	defer s.endFinishing()
	tick := time.NewTicker(sweepPeriod)
	defer tick.Stop()
	for {
		if err := s.Collect(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "collecting blobs stopped early; it goes on later", logging.Err, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Collect deletes uploads that nobody has touched for a day, then blobs that nothing refers to and
// temporary files that a crash left.
func (s *Service) Collect(ctx context.Context) error {
	return errors.Join(s.collectUploads(ctx), s.collectBlobs(ctx), s.sweep())
}

func (s *Service) collectUploads(ctx context.Context) error {
	before := s.now().Add(-uploadLife)
	ids, err := s.rows.abandoned(ctx, before)
	if err != nil {
		return err
	}
	for _, id := range ids {
		deleted, err := s.rows.deleteAbandoned(ctx, id, before, s.now())
		if err != nil {
			return fmt.Errorf("delete abandoned upload %s: %w", id, err)
		}
		if deleted {
			s.log.InfoContext(ctx, "upload expired", "upload", id)
			s.notify(id)
		}
	}
	return nil
}

// collectBatch bounds one query of the garbage list.
const collectBatch = 500

func (s *Service) collectBlobs(ctx context.Context) error {
	before := s.now().Add(-claimLife)
	for {
		sums, err := s.rows.garbage(ctx, before, collectBatch)
		if err != nil {
			return err
		}
		progress := false
		for _, sum := range sums {
			collected, err := s.rows.collect(ctx, sum, before, func() error { return s.store.Delete(ctx, sum) })
			if err != nil {
				return fmt.Errorf("collect blob %s: %w", sum, err)
			}
			progress = progress || collected
		}
		if len(sums) < collectBatch || !progress {
			return nil
		}
	}
}

func (s *Service) sweep() error {
	if d, ok := s.store.(interface{ Sweep(before time.Time) error }); ok {
		return d.Sweep(time.Now().Add(-claimLife)) // file times are the machine's, not s.now's
	}
	return nil
}
