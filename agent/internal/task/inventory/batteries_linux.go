package inventory

import (
	"context"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

// ownBattery reports whether a power supply is a battery of the computer and not of a mouse.
func (h *host) ownBattery(name string) bool {
	dir := "sys/class/power_supply/" + name + "/"
	return h.Line(dir+"type") == "Battery" && h.Line(dir+"scope") != "Device"
}

// findBatteries lists the computer's own batteries. Drivers count in µWh, or in µAh at a voltage in µV
// (Documentation/ABI/testing/sysfs-class-power). What is left now is no news and not told.
func findBatteries(_ context.Context, h *host) ([]protocol.Battery, error) {
	found := []protocol.Battery{}
	for _, entry := range h.Names("sys/class/power_supply") {
		dir := "sys/class/power_supply/" + entry + "/"
		if !h.ownBattery(entry) || h.Line(dir+"present") == "0" {
			continue
		}
		b := protocol.Battery{
			Row: protocol.Row{Key: entry, Name: sysread.Meant(h.Line(dir + "model_name"))}, Manufacturer: sysread.Meant(h.Line(dir + "manufacturer")),
			Serial: sysread.Meant(h.Line(dir + "serial_number")), Technology: sysread.Meant(h.Line(dir + "technology")), Cycles: h.number(dir + "cycle_count"),
		}
		if b.Name == "" {
			b.Name = entry
		}
		if b.Serial != "" {
			b.Key += "-" + b.Serial
		}
		design, full := int64(h.number(dir+"energy_full_design")), int64(h.number(dir+"energy_full"))
		if design == 0 {
			volts := int64(h.number(dir + "voltage_min_design"))
			design, full = int64(h.number(dir+"charge_full_design"))*volts/1e6, int64(h.number(dir+"charge_full"))*volts/1e6
		}
		b.DesignMWh = int(design / 1000)
		b.FullMWh = int(full/1000) / 100 * 100 // firmware estimates it anew all the time
		if b.DesignMWh > 0 && b.FullMWh > 0 {
			b.HealthPercent = min(int(full*100/design), 100)
		}
		found = append(found, b)
	}
	return found, nil
}
