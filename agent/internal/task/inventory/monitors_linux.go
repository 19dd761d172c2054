package inventory

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/muster/muster/packages/protocol"
)

// findMonitors lists the screens that are connected to the graphics cards of /sys/class/drm. One whose
// description cannot be read is told by its connector alone.
func findMonitors(_ context.Context, h *host) ([]protocol.Monitor, error) {
	found := []protocol.Monitor{}
	var problems []error
	for _, entry := range h.Names("sys/class/drm") {
		card, connector, ok := strings.Cut(entry, "-")
		dir := "sys/class/drm/" + entry + "/"
		if !ok || !strings.HasPrefix(card, "card") || h.Line(dir+"status") != "connected" {
			continue
		}
		m := protocol.Monitor{Row: protocol.Row{Key: connector, Name: connector}, Connector: connector}
		data, err := h.Read(dir+"edid", maxEDID)
		if err == nil && len(data) == 0 { // virtual screens have none
			found = append(found, m)
			continue
		}
		var e *edid
		if err == nil {
			e, err = parseEDID(data)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", connector, err))
			found = append(found, m)
			continue
		}
		m = e.monitor
		m.Connector, m.Manufacturer = connector, makersOfScreens[e.maker]
		if m.Manufacturer == "" {
			m.Manufacturer = e.maker
		}
		if m.Name == "" {
			m.Name = fmt.Sprintf("%s %04X", m.Manufacturer, e.product)
		}
		m.Key = fmt.Sprintf("%s-%04X", e.maker, e.product)
		if m.Serial != "" {
			m.Key += "-" + m.Serial
		}
		found = append(found, m)
	}
	return found, errors.Join(problems...)
}
