package device

import (
	"time"

	"github.com/muster/muster/packages/protocol"
)

// CleanFacts lets the fuzz test reach cleanFacts.
func CleanFacts(f protocol.Facts, now time.Time) protocol.Facts { return cleanFacts(f, now) }
