package deploy

import (
	"time"

	"github.com/muster/muster/packages/protocol"
)

// The back-off between attempts.
const (
	retryBase   = 30 * time.Second
	retryCap    = time.Hour
	retryJitter = 0.2 // of the delay, either way
)

const (
	retryLaterMost = 10 // attempts of a package whose exit code asks for another try
	rerunMost      = 10 // attempts of an interrupted package that may be run again
)

// retries reports whether a failed attempt is followed by another: without limit for priority 0, as
// everything else of the device waits for it; otherwise as often as the package says.
func retries(p policy, reason protocol.Reason) bool {
	done := p.Failures + 1
	switch {
	case p.Priority == 0:
		return true
	case reason == protocol.ReasonRetryLater:
		return done < max(retryLaterMost, p.RetryAttempts)
	default:
		return done < p.RetryAttempts
	}
}

// backoff is how long to wait after the given number of earlier failures: base, doubling, at most an
// hour, moved by up to a fifth so that devices that failed together do not come back together.
func backoff(failures int, base time.Duration, random float64) time.Duration {
	if base <= 0 {
		base = retryBase
	}
	d := min(base, retryCap)
	for range failures {
		if d = min(2*d, retryCap); d == retryCap {
			break
		}
	}
	factor := 1 - retryJitter + 2*retryJitter*random
	return min(time.Duration(float64(d)*factor), retryCap).Truncate(time.Millisecond)
}
