// Package agentapi is what agents call: enrollment, check-in, reports, rotation of secrets,
// instructions, releases, fragments and the WebSocket, exactly as packages/protocol says.
//
// All that comes in is hostile: bodies are bounded before they are read and decoded leniently, and
// every error leaves as problem+json without inner details. A check-in costs two indexed reads. When
// more comes than the server can take, the rest is told to come back later instead of being queued
// without end. The package keeps no state that a crash could lose; httpapi mounts it.
package agentapi

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/budget"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/throttle"
)

// Devices is what the package needs of the devices.
type Devices interface {
	Enroll(ctx context.Context, req protocol.EnrollRequest, remoteIP string) (device.Device, error)
	Authenticate(ctx context.Context, bearer string) (device.Device, error)
	Admit(ctx context.Context, bearer string) (device.Device, error)
	CheckIn(ctx context.Context, d device.Device, req protocol.CheckInRequest) (device.Device, error)
	Rotate(ctx context.Context, id, nextSHA256 string) error
}

// Deployments is what the package needs of the deployments.
type Deployments interface {
	Offer(ctx context.Context, deviceID string) ([]protocol.Task, time.Duration, error)
	Progress(ctx context.Context, deviceID string, p protocol.Progress) error
}

// Tasks is what the package needs of the tasks that are not deployments.
type Tasks interface {
	Offer(ctx context.Context, deviceID, deviceState string) ([]protocol.Task, error)
}

// Reports take what devices say, by whatever way it came. gone says that the device has left with it.
type Reports interface {
	Take(ctx context.Context, deviceID string, reports []protocol.Report) (ack protocol.Ack, gone bool, err error)
}

// Live is what the package needs of the live connections.
type Live interface {
	AcceptDevice(w http.ResponseWriter, r *http.Request, deviceID string, receive hub.Receiver) error
	Disconnect(deviceID string)
	CheckedIn(deviceID string)
}

// Fragment is a stored fragment. The handler closes Content.
type Fragment struct {
	Content io.ReadSeekCloser
	Private bool // only for devices, never cached
}

// Options configure an API.
type Options struct {
	Devices     Devices      // required
	Deployments Deployments  // required
	Tasks       Tasks        // required
	Reports     Reports      // required
	Inventories Inventories  // required
	Live        Live         // required
	Log         *slog.Logger // required
	// Trust lists the trust documents after a version, oldest first; it is asked at every check-in and
	// must answer from memory when there are none.
	Trust func(ctx context.Context, after int) ([]json.RawMessage, error)
	// Instruction returns the signed envelope of a digest.
	Instruction func(ctx context.Context, sha256 string) ([]byte, error)
	// Release returns the signed envelope of a release, by its digest.
	Release func(ctx context.Context, sha256 string) ([]byte, error)
	// Fragment opens a fragment by its digest.
	Fragment   func(ctx context.Context, sha256 string) (Fragment, error)
	Registerer prometheus.Registerer // nil: no metrics

	MaxCheckIns  int // at the same time; 64 when zero
	MaxReports   int // at the same time; 256 when zero
	MaxDownloads int // at the same time; 512 when zero

	MaxInventories int // heads and sections that are worked on at the same time; 4 when zero
}

// API is the agents' side of the server. Make it with New.
type API struct {
	opt       Options
	checkIns  *admission
	answers   *admission // of check-ins that are authenticated: newcomers do not hold them up
	reports   *admission
	downloads *admission
	failures  *throttle.Throttle
	turns     *turns
	metrics   *metrics

	inventories *admission
	sending     *turns // of heads and sections
	changes     *throttle.Throttle

	strangers *budget.Budget // of bodies that come before anybody is known
	bodies    *budget.Budget // of devices' bodies
	arriving  *budget.Budget // of sections of inventories
}

// Memory of bodies that are arriving, and of reports until they are committed, in bytes.
const (
	strangersBudget = 16 << 20
	bodiesBudget    = 128 << 20
)

// New makes the API.
func New(opt Options) *API {
	or := func(n, standard int) int {
		if n > 0 {
			return n
		}
		return standard
	}
	return &API{
		opt:       opt,
		checkIns:  newAdmission(or(opt.MaxCheckIns, 64)),
		answers:   newAdmission(or(opt.MaxCheckIns, 64)),
		reports:   newAdmission(or(opt.MaxReports, 256)),
		downloads: newAdmission(or(opt.MaxDownloads, 512)),
		failures:  throttle.New(failureEvery),
		turns:     newTurns(mostPerDevice, "batches of reports"),
		metrics:   newMetrics(opt.Registerer, opt.Log),
		strangers: budget.New(strangersBudget),
		bodies:    budget.New(bodiesBudget),
		arriving:  budget.New(inventoriesBudget),

		inventories: newAdmission(or(opt.MaxInventories, 4)),
		sending:     newTurns(1, "part of an inventory"),
		changes:     throttle.New(sectionEvery),
	}
}

// Register mounts the routes of packages/protocol.
func (a *API) Register(e *echo.Echo) {
	e.POST(protocol.PathEnroll, a.handle(a.enroll))
	e.POST(protocol.PathCheckIn, a.handle(a.checkIn))
	e.POST(protocol.PathReports, a.handle(a.takeReports))
	e.POST(protocol.PathRotate, a.handle(a.rotate))
	e.POST(protocol.PathInventory, a.handle(a.inventoryHead))
	e.PUT(protocol.PathInventory+"/:section", a.handle(a.inventorySection))
	e.GET(protocol.PathInstruction+"/:sha256", a.handle(a.signed("instruction", a.opt.Instruction)))
	e.GET(protocol.PathRelease+"/:sha256", a.handle(a.signed("release", a.opt.Release)))
	e.GET(protocol.PathFragment+"/:sha256", a.handle(a.fragment))
	e.HEAD(protocol.PathFragment+"/:sha256", a.handle(a.fragment))
	e.GET(protocol.PathSocket, a.handle(a.socket))
}

// handle turns a handler's error into problem+json.
func (a *API) handle(h echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := h(c)
		if err == nil {
			return nil
		}
		code := fault.CodeOf(err)
		a.metrics.refused.WithLabelValues(string(code)).Inc()
		if code == fault.Internal && c.Request().Context().Err() == nil {
			a.opt.Log.Error("answer agent", "path", c.Path(), "err", err)
		}
		if c.Response().Committed {
			return nil
		}
		return problem(c, err)
	}
}

func problem(c echo.Context, err error) error {
	p := api.ProblemOf(err)
	header := c.Response().Header()
	switch fault.Code(p.Code) {
	case fault.Unavailable, fault.TooMany: // spread, so that those sent away do not come back as one
		header.Set("Retry-After", strconv.Itoa(5+rand.IntN(26)))
	case fault.Unauthenticated:
		header.Set("WWW-Authenticate", `Bearer realm="muster agent"`)
	}
	header.Set("Cache-Control", "no-store")
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return c.Blob(p.Status, "application/problem+json", body)
}

// authenticate finds the device that asks.
func (a *API) authenticate(c echo.Context) (device.Device, error) {
	bearer, err := credential(c)
	if err != nil {
		return device.Device{}, err
	}
	return a.opt.Devices.Authenticate(c.Request().Context(), bearer)
}

// credential is what the device shows in its request.
func credential(c echo.Context) (string, error) {
	const scheme = "Bearer "
	header := c.Request().Header.Get("Authorization")
	if len(header) < len(scheme) || header[:len(scheme)] != scheme {
		return "", fault.New(fault.Unauthenticated, "a device's credential is needed")
	}
	return header[len(scheme):], nil
}

// speak refuses a protocol version that this server does not know.
func speak(version int) error {
	if version < protocol.MinVersion || version > protocol.Version {
		return fault.Field("protocol", "the agent speaks protocol version %d, this server %d to %d: update the older one",
			version, protocol.MinVersion, protocol.Version)
	}
	return nil
}

// answer sends JSON that nobody may cache.
func answer(c echo.Context, body any) error {
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusOK, body)
}
