package inventory

// ownBattery reports whether a power supply is a battery of the computer and not of a mouse.
func (h *host) ownBattery(name string) bool {
	dir := "sys/class/power_supply/" + name + "/"
	return h.Line(dir+"type") == "Battery" && h.Line(dir+"scope") != "Device"
}
