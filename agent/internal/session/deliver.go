package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/muster/muster/agent/internal/backoff"
	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// ackLimit is how long the server may take to commit reports that came by WebSocket.
const ackLimit = 30 * time.Second

// waiter waits for the acks of the reports that were sent by WebSocket.
type waiter struct {
	ids  map[string]bool
	done chan struct{}
}

// deliverAll delivers whenever there is something, until ctx ends.
func (s *Session) deliverAll(ctx context.Context) {
	retry := backoff.Backoff{Base: firstRetry, Cap: s.interval(time.Now())}
	for {
		err := s.Flush(ctx)
		if ctx.Err() != nil {
			return
		}
		var pause <-chan time.Time
		if err != nil {
			wait := retry.Next() + client.RetryAfter(err)
			if fault.Is(err, fault.Unauthenticated) {
				wait += quietRetry
			}
			s.quiet.Debug("deliver reports", logging.Err, err, "again_in", wait.Round(time.Second))
			pause = time.After(wait)
		} else {
			retry.Reset()
		}
		wait := s.o.Spool.Wait()
		if err != nil {
			wait = nil // new reports do not shorten a back-off
		}
		select {
		case <-ctx.Done():
			return
		case <-wait:
		case <-s.kick:
		case <-pause:
		}
	}
}

// Flush delivers until the spool is empty or something fails.
func (s *Session) Flush(ctx context.Context) error {
	s.deliver.Lock()
	defer s.deliver.Unlock()
	sent := false
	for {
		reports := s.o.Spool.Next(protocol.MaxReports, protocol.MaxReportsBytes-1<<10)
		if len(reports) == 0 {
			if sent {
				s.o.Host.Changed()
				s.o.Host.Settled()
			}
			return nil
		}
		if err := s.send(ctx, reports); err != nil {
			return fmt.Errorf("deliver %d reports: %w", len(reports), err)
		}
		sent = true
	}
}

// send delivers one batch, by WebSocket when there is one and the batch fits, else by HTTPS. A batch that
// the server cannot take whole is delivered one by one, so that one bad report holds back no others.
func (s *Session) send(ctx context.Context, reports []protocol.Report) error {
	if s.sendSocket(ctx, reports) {
		return nil
	}
	ack, err := s.client.Reports(ctx, reports)
	switch {
	case err == nil:
		return s.acknowledge(ack, reports)
	case !client.Refused(err) && (!fault.Is(err, fault.TooLarge) || len(reports) == 1):
		return err // the way is bad, not the report
	case len(reports) == 1:
		s.quiet.Error("the server refuses a report; it is dropped", "report", reports[0].ID, logging.Err, err)
		return s.o.Spool.Ack(reports[0].ID)
	}
	for n := range reports {
		if err := s.send(ctx, reports[n:n+1]); err != nil {
			return err
		}
	}
	return nil
}

// acknowledge forgets what the server has committed or will never take.
func (s *Session) acknowledge(ack protocol.Ack, sent []protocol.Report) error {
	ids := append([]string(nil), ack.IDs...)
	for _, r := range ack.Refused {
		s.quiet.Warn("the server refuses a report; it is dropped", "report", r.ID, "code", r.Code, "message", r.Message)
		ids = append(ids, r.ID)
	}
	if err := s.o.Spool.Ack(ids...); err != nil {
		return fmt.Errorf("forget delivered reports: %w", err)
	}
	named := map[string]bool{}
	for _, id := range ids {
		named[id] = true
	}
	for _, r := range sent {
		if named[r.ID] {
			return nil
		}
	}
	if len(sent) > 0 {
		return fault.New(fault.Unavailable, "the server acknowledges none of the reports")
	}
	return nil
}

// sendSocket delivers by WebSocket; false when it could not, or no ack came in time.
func (s *Session) sendSocket(ctx context.Context, reports []protocol.Report) bool {
	data, err := json.Marshal(protocol.SocketMessage{Type: protocol.SocketReports, Reports: reports})
	if err != nil || len(data) > protocol.MaxSocketMessage {
		return false
	}
	w := &waiter{ids: map[string]bool{}, done: make(chan struct{})}
	for _, r := range reports {
		w.ids[r.ID] = true
	}
	s.mu.Lock()
	sock := s.socket
	if sock != nil {
		s.waiting = w
	}
	s.mu.Unlock()
	if sock == nil {
		return false
	}
	defer func() {
		s.mu.Lock()
		s.waiting = nil
		s.mu.Unlock()
	}()
	if err := sock.write(data); err != nil {
		return false
	}
	timer := time.NewTimer(ackLimit)
	defer timer.Stop()
	select {
	case <-w.done:
		return true
	case <-sock.closed:
	case <-timer.C:
		sock.close(errors.New("no acknowledgement came in time"))
	case <-ctx.Done():
	}
	return false
}

// acked takes an ack that came by WebSocket.
func (s *Session) acked(ack protocol.Ack) {
	if err := s.acknowledge(ack, nil); err != nil {
		s.quiet.Error("take an acknowledgement", logging.Err, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		return
	}
	for _, id := range ack.IDs {
		delete(s.waiting.ids, id)
	}
	for _, r := range ack.Refused {
		delete(s.waiting.ids, r.ID)
	}
	if len(s.waiting.ids) == 0 {
		close(s.waiting.done)
		s.waiting = nil
	}
}

// Progress tells how far a fetch has come, if the WebSocket is open; it may be lost.
func (s *Session) Progress(p protocol.Progress) {
	s.mu.Lock()
	sock := s.socket
	s.mu.Unlock()
	if sock == nil {
		return
	}
	data, err := json.Marshal(protocol.SocketMessage{Type: protocol.SocketProgress, Progress: &p})
	if err == nil {
		_ = sock.write(data) // a broken connection shows itself to its reader
	}
}
