package agentapi

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/budget"
	"github.com/muster/muster/server/internal/bulk"
	"github.com/muster/muster/server/internal/device"
)

// pendingSeconds is how soon a device that waits for an admin's decision is to ask again.
const pendingSeconds = 60

func (a *API) enroll(c echo.Context) error {
	ip := c.RealIP()
	if a.failures.Empty(time.Now(), guesses(ip)) {
		return fault.New(fault.TooMany, "too many failed enrollments from this address; try again later")
	}
	// Read first: who sends slowly must not hold a place meanwhile.
	var req protocol.EnrollRequest
	if err := a.decode(a.strangers, c, protocol.MaxEnroll, &req); err != nil {
		return err
	}
	release, err := a.checkIns.enter(c.Request().Context())
	if err != nil {
		return err
	}
	defer release()
	if err := speak(req.Protocol); err != nil {
		return err
	}
	ctx := c.Request().Context()
	d, err := a.opt.Devices.Enroll(ctx, req, ip)
	if fault.Is(err, fault.Unauthenticated) || fault.Is(err, fault.Forbidden) {
		a.failures.Take(time.Now(), guesses(ip))
	}
	if err != nil {
		return err
	}
	trust, err := a.opt.Trust(ctx, 0)
	if err != nil {
		return err
	}
	a.metrics.enrollments.Inc()
	return answer(c, protocol.EnrollResponse{DeviceID: d.ID, State: d.State, ServerTime: time.Now().UTC(), Trust: trust})
}

// decode reads a JSON body within its limit and a budget that all bodies of the kind share.
func (a *API) decode(of *budget.Budget, c echo.Context, limit int64, v any) error {
	body, release := of.Reader(c.Request().Body)
	defer release()
	return protocol.Decode(body, limit, v)
}

func (a *API) checkIn(c echo.Context) error {
	begin := time.Now()
	// A place for each of the two parts, none while the body arrives: who sends slowly holds up nobody.
	d, err := a.admitted(c)
	if err != nil {
		return err
	}
	var req protocol.CheckInRequest
	if err := a.decode(a.bodies, c, protocol.MaxCheckIn, &req); err != nil {
		return err
	}
	release, err := a.answers.enter(c.Request().Context())
	if err != nil {
		return err
	}
	defer release()
	if err := speak(req.Protocol); err != nil {
		return err
	}
	resp, err := a.checkInAnswer(c, d, req)
	if err != nil {
		return err
	}
	a.metrics.checkIns.Inc()
	a.metrics.checkInSeconds.Observe(time.Since(begin).Seconds())
	a.opt.Live.CheckedIn(d.ID)
	return answer(c, resp)
}

// admitted authenticates in a place of its own.
func (a *API) admitted(c echo.Context) (device.Device, error) {
	release, err := a.checkIns.enter(c.Request().Context())
	if err != nil {
		return device.Device{}, err
	}
	defer release()
	bearer, err := credential(c)
	if err != nil {
		return device.Device{}, err
	}
	return a.opt.Devices.Admit(c.Request().Context(), bearer)
}

func (a *API) checkInAnswer(c echo.Context, d device.Device, req protocol.CheckInRequest) (protocol.CheckInResponse, error) {
	ctx := c.Request().Context()
	resp := protocol.CheckInResponse{ServerTime: time.Now().UTC(), Tasks: []protocol.Task{}}
	d, err := a.opt.Devices.CheckIn(ctx, d, req)
	if err != nil {
		return resp, err
	}
	resp.State = d.State
	if resp.Trust, err = a.opt.Trust(ctx, req.TrustVersion); err != nil {
		return resp, err
	}
	if d.OpenTasks > 0 { // as the row said that every check-in reads
		if resp.Tasks, err = a.opt.Tasks.Offer(ctx, d.ID, d.State); err != nil {
			return resp, err
		}
	}
	switch d.State {
	case protocol.DeviceActive:
		resp.Log = d.Log
		packages, next, err := a.opt.Deployments.Offer(ctx, d.ID)
		if err != nil {
			return resp, err
		}
		resp.Tasks = append(resp.Tasks, packages[:min(len(packages), protocol.MaxTasks-len(resp.Tasks))]...)
		resp.NextSeconds = int(math.Ceil(next.Seconds()))
	case protocol.DevicePending:
		resp.NextSeconds = pendingSeconds
	case protocol.DeviceQuarantined:
		if !req.Connected { // nothing else tells it of the decision; a retired secret opens no WebSocket
			resp.NextSeconds = pendingSeconds
		}
	}
	return resp, nil
}

func (a *API) takeReports(c echo.Context) error {
	release, err := a.reports.enter(c.Request().Context())
	if err != nil {
		return err
	}
	defer release()
	d, err := a.authenticate(c)
	if err != nil {
		return err
	}
	done, err := a.turns.take(d.ID)
	if err != nil {
		return err
	}
	defer done()
	body, free := a.bodies.Reader(c.Request().Body)
	defer free() // reports are held until they are committed
	var req protocol.ReportsRequest
	if err := protocol.Decode(body, protocol.MaxReportsBytes, &req); err != nil {
		return err
	}
	ack, gone, err := a.opt.Reports.Take(c.Request().Context(), d.ID, req.Reports)
	if err != nil {
		return err
	}
	if gone {
		a.opt.Live.Disconnect(d.ID) // its WebSocket; this answer goes another way
	}
	return answer(c, ack)
}

func (a *API) rotate(c echo.Context) error {
	d, err := a.authenticate(c)
	if err != nil {
		return err
	}
	var req protocol.RotateRequest
	if err := a.decode(a.bodies, c, protocol.MaxEnroll, &req); err != nil {
		return err
	}
	if err := a.opt.Devices.Rotate(c.Request().Context(), d.ID, req.NextSHA256); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// mayWork lets active devices through. A device that waits for approval or is quarantined is known,
// but gets nothing that changes a computer.
func mayWork(d device.Device) error {
	if d.State != protocol.DeviceActive {
		return fault.New(fault.Forbidden, "this device is %s and gets neither packages nor releases", d.State)
	}
	return nil
}

// signed hands out signed envelopes of one kind by their digest.
func (a *API) signed(kind string, read func(ctx context.Context, sha256 string) ([]byte, error)) echo.HandlerFunc {
	return func(c echo.Context) error {
		d, err := a.authenticate(c)
		if err != nil {
			return err
		}
		if err := mayWork(d); err != nil {
			return err
		}
		digest := c.Param("sha256")
		if !protocol.IsSHA256(digest) {
			return fault.New(fault.NotFound, "there is no %s of this name", kind)
		}
		envelope, err := read(c.Request().Context(), digest)
		if err != nil {
			return err
		}
		header := c.Response().Header()
		header.Set("Cache-Control", "private, max-age=31536000, immutable")
		header.Set("ETag", `"`+digest+`"`)
		header.Set("X-Content-Type-Options", "nosniff")
		return c.Blob(http.StatusOK, "application/json", envelope)
	}
}

func (a *API) fragment(c echo.Context) error {
	release, err := a.downloads.enter(c.Request().Context())
	if err != nil {
		return err
	}
	defer release()
	digest := c.Param("sha256")
	if !protocol.IsSHA256(digest) {
		return fault.New(fault.NotFound, "there is no fragment of this name")
	}
	f, err := a.opt.Fragment(c.Request().Context(), digest)
	if err != nil {
		return err
	}
	defer f.Content.Close() //nolint:errcheck // read only
	cache := "public, max-age=31536000, immutable"
	if f.Private {
		d, err := a.authenticate(c)
		if err != nil {
			return err
		}
		if err := mayWork(d); err != nil {
			return err
		}
		cache = "no-store"
	}
	header := c.Response().Header()
	header.Set("Cache-Control", cache)
	header.Set("ETag", `"`+digest+`"`)
	header.Set("Content-Type", "application/octet-stream")
	header.Set("X-Content-Type-Options", "nosniff")
	a.metrics.fragments.Inc()
	bulk.ServeContent(c.Response(), c.Request(), f.Content)
	return nil
}

func (a *API) socket(c echo.Context) error {
	d, err := a.authenticate(c)
	if err != nil {
		return err
	}
	bearer := c.Request().Header.Get("Authorization")[len("Bearer "):]
	ctx := c.Request().Context()
	if err := a.opt.Live.AcceptDevice(c.Response(), c.Request(), d.ID, a.receiver(d.ID)); err != nil {
		return err
	}
	// Revoked while the connection was being made? Then the cut may have come too early for it.
	if _, err := a.opt.Devices.Authenticate(ctx, bearer); fault.Is(err, fault.Unauthenticated) {
		a.opt.Live.Disconnect(d.ID)
	}
	return nil
}

// ackMessage is the answer to reports that came over the WebSocket.
func ackMessage(ack protocol.Ack) ([]byte, error) {
	return json.Marshal(protocol.SocketMessage{Type: protocol.SocketAck, Ack: &ack})
}
