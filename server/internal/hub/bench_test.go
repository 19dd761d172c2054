package hub

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkWakeQueue paces one wave over 5,000 devices, each of which checks in.
func BenchmarkWakeQueue(b *testing.B) {
	ids := make([]string, 5000)
	for n := range ids {
		ids[n] = fmt.Sprintf("01960000-0000-7000-8000-%012d", n)
	}
	var q wakeQueue
	q.init()
	for b.Loop() {
		q.add(ids...)
		now := time.Unix(0, 0)
		for woken := 0; woken < len(ids); {
			next, _ := q.take(now, 128, time.Second)
			woken += len(next)
			for _, id := range next {
				q.done(id)
			}
		}
	}
}
