package agentapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/inventory"
	"github.com/muster/muster/server/internal/throttle"
)

// Inventories is what the package needs of the inventories.
type Inventories interface {
	Head(ctx context.Context, d inventory.Device, head protocol.InventoryHead) (protocol.InventoryAnswer, error)
	Put(ctx context.Context, d inventory.Device, u inventory.Upload) error
}

// inventoriesBudget bounds the memory of packed sections that are arriving, in bytes. Reports have their
// own: sections are large, and must not keep them out.
const inventoriesBudget = 64 << 20

// How many sections a device may send at once, and how soon another: a device that sends ever new ones does
// not fill the database with what follows from them. An honest one sends those that changed, a few times a day.
const (
	sectionsAtOnce = 200
	sectionEvery   = 30 * time.Second
)

// inventoryHead answers which sections of an inventory are wanted. Devices in every state but revoked may
// ask: what a computer is helps who decides about it.
func (a *API) inventoryHead(c echo.Context) error {
	d, err := a.authenticate(c)
	if err != nil {
		return err
	}
	var head protocol.InventoryHead
	if err := a.decode(a.bodies, c, protocol.MaxInventoryHead, &head); err != nil {
		return err
	}
	if err := speak(head.Protocol); err != nil {
		return err
	}
	resp, err := a.head(c.Request().Context(), d, head)
	if err != nil {
		return err
	}
	a.metrics.inventories.Inc()
	return answer(c, resp)
}

// head gives its place and its device's turn back before the answer is written: who has it may go on at once.
func (a *API) head(ctx context.Context, d device.Device, head protocol.InventoryHead) (protocol.InventoryAnswer, error) {
	done, err := a.sending.take(d.ID)
	if err != nil {
		return protocol.InventoryAnswer{}, err
	}
	defer done()
	release, err := a.inventories.enter(ctx)
	if err != nil {
		return protocol.InventoryAnswer{}, err
	}
	defer release()
	return a.opt.Inventories.Head(ctx, inventory.Device{ID: d.ID, Hostname: d.Hostname}, head)
}

// inventorySection takes one section. It is read as it is sent, packed, before it takes a place: who sends
// slowly holds what it has sent, and no place. Unpacked it is held in a place only.
func (a *API) inventorySection(c echo.Context) error {
	d, err := a.authenticate(c)
	if err != nil {
		return err
	}
	up, err := uploadOf(c.Param("section"), c.Request())
	if err != nil {
		return err
	}
	if !a.changes.Take(time.Now(), throttle.Bucket{Key: d.ID, Size: sectionsAtOnce}) {
		return fault.New(fault.TooMany, "this device has sent %d sections at once; send more later, one in %s", sectionsAtOnce, sectionEvery)
	}
	done, err := a.sending.take(d.ID)
	if err != nil {
		return err
	}
	defer done()
	body, free := a.arriving.Reader(c.Request().Body)
	defer free()
	if up.Packed, err = readAll(body, inventory.MaxPacked); err != nil {
		return err
	}
	release, err := a.inventories.enter(c.Request().Context())
	if err != nil {
		return err
	}
	defer release()
	if err := a.opt.Inventories.Put(c.Request().Context(), inventory.Device{ID: d.ID, Hostname: d.Hostname}, up); err != nil {
		return err
	}
	a.metrics.sections.Inc()
	return c.NoContent(http.StatusNoContent)
}

// uploadOf reads what a request says of its section, without the body.
func uploadOf(section string, r *http.Request) (inventory.Upload, error) {
	up := inventory.Upload{Section: section, SHA256: r.URL.Query().Get("sha256")}
	if !protocol.ValidSection(up.Section) {
		return up, fault.New(fault.NotFound, "%.60q is not the name of a section", up.Section)
	}
	if !protocol.IsSHA256(up.SHA256) {
		return up, fault.Field("sha256", "must be the SHA-256 digest of the unpacked lines, 64 lower-case hex digits")
	}
	at, err := time.Parse(time.RFC3339, r.URL.Query().Get("collected_at"))
	if err != nil {
		return up, fault.Field("collected_at", "must be a time like 2026-11-21T08:00:00Z")
	}
	up.CollectedAt = at
	if sources := r.URL.Query().Get("incomplete"); sources != "" {
		up.Incomplete = strings.Split(sources, ",")
	}
	if len(up.Incomplete) > inventory.MaxIncomplete {
		return up, fault.Field("incomplete", "names %d sources; at most %d are taken", len(up.Incomplete), inventory.MaxIncomplete)
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "gzip" {
		return up, fault.New(fault.Unsupported, "a section is sent with Content-Encoding: gzip, not %.40q", encoding)
	}
	return up, nil
}

// readAll reads a body up to limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(r, limit+1))
	if fault.CodeOf(err) == fault.Internal { // not the budget's
		return nil, fault.Wrap(err, fault.Unavailable, "read the section")
	}
	if err != nil {
		return nil, fmt.Errorf("read the section: %w", err)
	}
	if n > limit {
		return nil, fault.New(fault.TooLarge, "the section has over %d bytes, packed", limit)
	}
	return b.Bytes(), nil
}
