// Package audit keeps who changed what through the admin API: one row per operation that is not a
// read, with actor, operation, target, outcome and address. httpapi calls Record after each request;
// features add details with Detail.
//
// A row is written after the operation has been committed: after a crash in between the operation may
// lack its row, never the other way round. Rows hold no secrets and no bodies.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/store"
)

// Entry is one row.
type Entry struct {
	ID        string
	Time      time.Time
	Actor     string
	ActorKind string
	Operation string
	Target    string
	Status    int
	RemoteIP  string
	Details   string // JSON object of strings
}

// Keep is how long rows are kept.
const Keep = 2 * 365 * 24 * time.Hour

// maxDetail bounds one detail, in bytes.
const maxDetail = 1 << 10

// Options are what New needs.
type Options struct {
	DB  *store.DB
	Log *slog.Logger
	Now func() time.Time // store.Now when nil
}

// Service writes and lists entries.
type Service struct {
	store *entries
	log   *slog.Logger
	now   func() time.Time
}

// New makes the service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = store.Now
	}
	return &Service{store: &entries{db: o.DB}, log: o.Log, now: o.Now}
}

// Detail adds a fact to the row of the request that ctx belongs to.
func Detail(ctx context.Context, key, value string) { api.ExchangeFrom(ctx).Detail(key, value) }

// Record writes the row of a finished request. It needs an actor: requests of nobody change nothing,
// and would let strangers fill the database. ctx may have ended already.
func (s *Service) Record(ctx context.Context, e *api.Exchange, status int, remoteIP string) {
	kind, name := e.Actor()
	operation, target := e.Operation()
	if kind == "" || operation == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := s.write(ctx, Entry{
		Actor: name, ActorKind: kind, Operation: operation, Target: clip(target, 255), Status: status, RemoteIP: clip(remoteIP, 64),
	}, e.Details())
	if err != nil {
		s.log.ErrorContext(ctx, "an audit row was not written", "operation", operation, "target", target, "user", name, "err", err)
	}
}

// System writes the row of something that the server did by itself or on its command line.
func (s *Service) System(ctx context.Context, operation, target string, details map[string]string) error {
	return s.write(ctx, Entry{Actor: "system", ActorKind: "system", Operation: operation, Target: clip(target, 255), Status: 200}, details)
}

func (s *Service) write(ctx context.Context, row Entry, details map[string]string) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make audit id: %w", err)
	}
	short := make(map[string]string, len(details))
	for k, v := range details {
		short[k] = clip(v, maxDetail)
	}
	text, err := json.Marshal(short)
	if err != nil {
		return fmt.Errorf("encode audit details: %w", err)
	}
	row.ID, row.Time, row.Details = id.String(), s.now(), string(text)
	return s.store.add(ctx, row)
}

// RunCleanup removes rows older than Keep once a day, until ctx ends.
func (s *Service) RunCleanup(ctx context.Context) {
	t := time.NewTicker(24 * time.Hour)
	defer t.Stop()
	for {
		if err := s.store.deleteBefore(ctx, s.now().Add(-Keep)); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "old audit rows were not removed", "err", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// clip cuts text to n bytes at a character's border.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && text[n]&0xC0 == 0x80 {
		n--
	}
	return text[:n]
}
