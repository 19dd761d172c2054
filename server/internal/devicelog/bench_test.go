package devicelog_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/devicelog"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

// BenchmarkIngest is 64 devices that forward batches of 50 lines at the same time; an operation is a batch.
func BenchmarkIngest(b *testing.B) {
	for _, dialect := range storetest.Dialects() {
		b.Run(dialect, func(b *testing.B) {
			e := newEnv(b, storetest.Open(b, dialect), devicelog.Options{MaxHourly: 1 << 30})
			var devices []string
			for i := range 64 {
				devices = append(devices, e.device(fmt.Sprint("pc", i)))
			}
			var messages []string
			for i := range 50 {
				messages = append(messages, fmt.Sprintf("fetched fragment %d of 50 digest=4f1c0de server=muster.example", i))
			}
			var next atomic.Int64
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					id := devices[next.Add(1)%64]
					ack, err := e.svc.Ingest(b.Context(), id, []protocol.Report{report(lines(time.Now(), messages...)...)})
					if err != nil || len(ack.IDs) != 1 {
						b.Errorf("%v %v", ack, err)
					}
				}
			})
			b.ReportMetric(float64(b.N*50)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

// BenchmarkSearch looks for a word that no line has, in a table of 200,000 lines of 20 devices: an operation is
// one answer, which has looked at 20,000 lines of all, or of one device.
func BenchmarkSearch(b *testing.B) {
	for _, dialect := range storetest.Dialects() {
		db := storetest.Open(b, dialect)
		e := newEnv(b, db, devicelog.Options{})
		now := store.Now().Add(-time.Hour)
		var one string
		for i := range 20 {
			one = e.device(fmt.Sprint("pc", i))
			for j := range 50 {
				r := report()
				for k := range 200 {
					r.Log.Lines = append(r.Log.Lines, line(now.Add(time.Duration(j*200+k)*time.Millisecond), protocol.LogLevels[k%4], "deploy",
						"fetched a fragment digest=4f1c0de server=muster.example of a package with a name"))
				}
				e.say(one, r)
			}
		}
		for name, f := range map[string]devicelog.Filter{
			"all": {Text: "needle", Limit: 50}, "device": {DeviceID: one, Text: "needle", Limit: 50}, "newest": {Limit: 50}, "errors": {Level: "error", Limit: 50},
			"half": {To: now.Add(5 * time.Second), Limit: 50},
		} {
			b.Run(dialect+"/"+name, func(b *testing.B) {
				for b.Loop() {
					_, err := e.svc.List(b.Context(), f)
					require.NoError(b, err)
				}
			})
		}
	}
}
