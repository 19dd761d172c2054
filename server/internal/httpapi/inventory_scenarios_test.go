package httpapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/servertest"
)

var inventoryScenarios = map[string]scenario{
	"get-inventory":                {good: on("/devices/", (*world).inventory, "/inventory")},
	"get-inventory-section":        {good: on("/devices/", (*world).inventory, "/inventory/cpus?q=x")},
	"list-software":                {good: at("/software?sort=devices&unused=true")},
	"get-software":                 {good: on("/software/", (*world).software, "")},
	"list-software-devices":        {good: on("/software/", (*world).software, "/devices?version=1.0")},
	"list-software-history":        {good: on("/software/", (*world).software, "/history")},
	"list-device-software":         {good: on("/devices/", (*world).inventory, "/software?q=tool")},
	"list-device-software-history": {good: on("/devices/", (*world).inventory, "/software/history")},
	"create-uninstall":             {good: uninstall, conflict: uninstallTwice},
	"list-device-events":           {good: at("/device-events?kind=disk_low,device_silent&since=2026-01-01T00:00:00Z")},
}

// inventory is a device that has sent one.
func (w *world) inventory(t *testing.T) string {
	sendInventory(t, w.pc)
	return w.pc.ID
}

func sendInventory(t *testing.T, d *servertest.Device) {
	t.Helper()
	d.Inventory(t, map[string][]byte{
		protocol.SectionCPUs: servertest.Lines(t, protocol.CPU{Row: protocol.Row{Key: "socket-0", Name: "X1"}, Cores: 2}),
		protocol.SectionSoftware: servertest.Lines(t, protocol.Software{
			Row: protocol.Row{Key: "pkg:deb/debian/tool@1.0?arch=amd64", Name: "tool"}, Version: "1.0", Source: "dpkg",
		}),
	})
}

// uninstall asks a device for it that has the program.
func uninstall(t *testing.T, w *world) request {
	t.Helper()
	w.made++
	d := w.Enroll(t, w.admin, fmt.Sprint("pc", w.made))
	sendInventory(t, d)
	return request{path: "/uninstalls", body: map[string]any{
		"device_ids": []string{d.ID}, "software": []string{"pkg:deb/debian/tool@1.0?arch=amd64"}, "stop_at_failure": true, "limit_seconds": 60,
	}}
}

// uninstallTwice asks for it while it is under way.
func uninstallTwice(t *testing.T, w *world) request {
	t.Helper()
	r := uninstall(t, w)
	w.act(t, r.path, r.body)
	return r
}

// software is a title.
func (w *world) software(t *testing.T) string {
	w.inventory(t)
	var page struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	w.admin.Do(t, http.MethodGet, api.Path+"/software", nil).JSON(t, 200, &page)
	require.NotEmpty(t, page.Items)
	return page.Items[0].ID
}
