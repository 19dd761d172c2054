package device_test

import (
	"encoding/json"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
)

// Whatever a device claims about itself, what is kept fits its columns and draws over nobody's terminal.
func FuzzCleanFacts(f *testing.F) {
	f.Add([]byte(`{"hostname":"pc\u001b[2J\u202e","os":"linux","ips":["10.0.0.1",""],"cores":-1,"booted_at":"0001-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"memory_bytes":-5,"changed_at":"9999-12-31T23:59:59+14:00","tasks_allowed":["deploy"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var facts protocol.Facts
		if json.Unmarshal(data, &facts) != nil {
			return
		}
		now := time.Now().UTC().Truncate(time.Millisecond)
		got := device.CleanFacts(facts, now)
		short := append(append(append([]string{got.OSVersion, got.Timezone, got.Manufacturer, got.Product, got.Serial}, got.IPs...), got.MACs...), got.TasksAllowed...)
		short = append(short, got.Modules...)
		for limit, texts := range map[int][]string{
			40: {got.OS, got.Arch, got.Virtualisation}, 64: {got.AgentVersion, got.ProductUUID}, 120: short, 128: {got.MachineID, got.BootID},
			255: {got.Hostname, got.OSName, got.Kernel, got.CPU},
		} {
			for _, s := range texts {
				require.LessOrEqual(t, utf8.RuneCountInString(s), limit)
				require.True(t, utf8.ValidString(s))
				for _, r := range s {
					require.False(t, unicode.IsControl(r) || unicode.Is(unicode.Cf, r), "%q", s)
				}
			}
		}
		require.NotEmpty(t, got.Hostname)
		require.LessOrEqual(t, max(len(got.IPs), len(got.MACs), len(got.TasksAllowed), len(got.Modules)), 64)
		require.False(t, got.ChangedAt.After(now) || got.BootedAt.After(now))
		_, err := json.Marshal(got)
		require.NoError(t, err)
	})
}
