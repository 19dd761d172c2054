package deploy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

// BenchmarkOffer is the deployments' half of a check-in.
func BenchmarkOffer(b *testing.B) {
	e := newEnv(b, storetest.Open(b, store.SQLite))
	dev := e.addDevice(false)
	for _, name := range []string{"A", "B", "C"} {
		e.assign(e.addPackage(name, 5), dev)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, err := e.svc.Offer(b.Context(), dev); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkIngest is many devices that report one step each at the same time.
func BenchmarkIngest(b *testing.B) {
	e := newEnv(b, storetest.Open(b, store.SQLite))
	dev, pkg := e.addDevice(false), e.addPackage("App", 5)
	e.assign(pkg, dev)
	d := e.of(dev, pkg)
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := e.svc.Ingest(b.Context(), dev, []protocol.Report{report(d, protocol.StateWaiting, protocol.ReasonBusy)}); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkAssign gives a package to 1,000 devices in one transaction.
func BenchmarkAssign(b *testing.B) {
	e := newEnv(b, storetest.Open(b, store.SQLite))
	var ids []string
	for range 1000 {
		ids = append(ids, e.addDevice(false))
	}
	for b.Loop() {
		a := e.assign(e.addPackage("App", 5), ids...)
		require.Equal(b, len(ids), a.DeviceCount)
	}
}
