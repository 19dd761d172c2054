package session

import (
	"fmt"
	"time"
)

// Clocks of other computers.
const (
	maxSkew  = 5 * time.Minute // between our clock and the server's before it is worth a word
	skewStep = time.Minute     // by which it must change before it is told anew
)

// dueAt gives a time to come the monotonic clock beside the wall clock's, so that untilClock knows both.
func dueAt(at, now time.Time) time.Time { return now.Add(at.Round(0).Sub(now.Round(0))) }

// untilClock is the time until at by whichever clock is further. The monotonic one leaves out the time
// that a computer sleeps, and a check-in due meanwhile is due when it wakes up; the wall clock may have
// been years ahead and was set right meanwhile, and nobody waits for these years.
func untilClock(at, now time.Time) time.Duration {
	return min(at.Round(0).Sub(now.Round(0)), at.Sub(now))
}

// skewOf is how far our clock is from the server's, in full seconds: zero below maxSkew, and as it was
// told before while it has hardly changed, for what is told is written.
func skewOf(measured, told time.Duration) time.Duration {
	measured = measured.Truncate(time.Second)
	switch {
	case measured.Abs() <= maxSkew:
		return 0
	case told != 0 && (measured-told).Abs() < skewStep:
		return told
	}
	return measured
}

// SkewText says to people what Status.SkewSeconds means.
func SkewText(seconds int64) string {
	skew, word := time.Duration(seconds)*time.Second, "ahead of"
	if skew < 0 {
		word = "behind"
	}
	return fmt.Sprintf("this computer's clock is %s %s the server's: set the one that is wrong", skew.Abs(), word)
}

// compare notes how far our clock is from the server's. The server hears of it with the facts of the next
// check-in. The caller holds mu.
func (s *Session) compare(now, server time.Time) {
	if server.IsZero() {
		return
	}
	told := s.skew
	s.skew = skewOf(now.Round(0).Sub(server), told)
	if s.skew != 0 && told == 0 {
		s.log.Warn("a clock is wrong", "detail", SkewText(int64(s.skew/time.Second)))
	}
}
