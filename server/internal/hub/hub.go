// Package hub holds the live WebSockets of agents and browsers.
//
// Downwards it only nudges: "check in now" to a device, "this changed, fetch it again" to a browser.
// A lost nudge costs latency, never correctness, so nothing here is durable and a crash loses
// nothing. Upwards it passes a device's messages to the receiver given at AcceptDevice, one at a
// time per connection, and sends back what the receiver answers.
//
// A connection's queue is bounded and a full one ends the connection: a peer that does not read must
// not hold memory. A device has one connection; a newer one replaces the older. Handlers return
// after the upgrade, buffers are small and shared, and a writer exists only while there is something
// to write: that is what keeps an idle TLS connection near 16 KB.
package hub

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/budget"
	"github.com/muster/muster/server/internal/bus"
)

// Topics on the bus.
const (
	topicWake     = "device.wake"       // a device id
	topicWakeMany = "device.wake-many"  // device ids, one per line
	topicCut      = "device.disconnect" // a device id
	topicEvent    = "browser.event"     // an Event as JSON
)

// pingSlots spreads the pings of all connections over the ping interval.
const pingSlots = 16

// messagesBudget is how much memory large messages of all connections may take until they are answered.
const messagesBudget = 128 << 20

// Options configure a Hub. Zero values take the defaults named here.
type Options struct {
	Bus        bus.Bus               // required
	Log        *slog.Logger          // required
	Registerer prometheus.Registerer // nil: no metrics

	PingEvery         time.Duration // 60 s; a peer silent for twice as long is cut
	WriteTimeout      time.Duration // 10 s
	Queue             int           // 64 messages per device
	WakesUnderWay     int           // 128 devices woken by WakeMany that have not checked in yet
	WakePatience      time.Duration // 4 s; who has not checked in by then is counted no longer
	UpgradesPerSecond int           // 500 new connections; more are told to come back
	MaxBrowsers       int           // 1000
	FlushEvery        time.Duration // 250 ms between two deliveries of browser events
}

func (o *Options) setDefaults() {
	if o.PingEvery <= 0 {
		o.PingEvery = time.Minute
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = 10 * time.Second
	}
	if o.Queue <= 0 {
		o.Queue = 64
	}
	if o.WakesUnderWay <= 0 {
		o.WakesUnderWay = 128
	}
	if o.WakePatience <= 0 {
		o.WakePatience = 4 * time.Second
	}
	if o.UpgradesPerSecond <= 0 {
		o.UpgradesPerSecond = 500
	}
	if o.MaxBrowsers <= 0 {
		o.MaxBrowsers = 1000
	}
	if o.FlushEvery <= 0 {
		o.FlushEvery = 250 * time.Millisecond
	}
}

// Receiver takes one message of a device and returns what to send back; nil sends nothing. An error
// ends the connection; with ErrLast the answer is sent first. It is called by one goroutine per connection, so
// a slow receiver slows down that device alone.
type Receiver func(ctx context.Context, data []byte) (answer []byte, err error)

// ErrLast ends a connection after the answer that it comes with.
var ErrLast = errors.New("nothing more is taken from this device")

// Hub is the registry of live connections. Make it with New and end it with Close.
type Hub struct {
	opt      Options
	log      *slog.Logger
	device   websocket.Upgrader
	browser  websocket.Upgrader
	upgrades *rate.Limiter
	metrics  *metrics

	ctx  context.Context // of every connection; not of any request
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	seq      int
	devices  map[string]*conn
	browsers map[*conn]struct{}

	messages *budget.Budget // of large messages that arrive

	wakes  wakeQueue
	events eventQueue
}

// New starts a hub.
func New(opt Options) *Hub {
	opt.setDefaults()
	pool := &sync.Pool{}
	h := &Hub{
		opt:      opt,
		log:      opt.Log,
		upgrades: rate.NewLimiter(rate.Limit(opt.UpgradesPerSecond), opt.UpgradesPerSecond),
		devices:  map[string]*conn{},
		browsers: map[*conn]struct{}{},
		messages: budget.New(messagesBudget),
	}
	h.device = upgrader(opt, pool, protocol.SocketProtocol)
	h.browser = upgrader(opt, pool)
	h.wakes.init()
	h.events.init()
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.metrics = newMetrics(opt.Registerer, h)

	cancels := []func(){
		opt.Bus.Subscribe(topicWake, func(p []byte) { h.wakeLocal(string(p)) }),
		opt.Bus.Subscribe(topicWakeMany, h.onWakeMany),
		opt.Bus.Subscribe(topicCut, func(p []byte) { h.cutLocal(string(p)) }),
		opt.Bus.Subscribe(topicEvent, h.onEvent),
	}
	h.wg.Go(h.pingLoop)
	h.wg.Go(h.wakeLoop)
	h.wg.Go(h.eventLoop)
	h.wg.Go(func() {
		<-h.ctx.Done()
		for _, cancel := range cancels {
			cancel()
		}
	})
	return h
}

// AcceptDevice upgrades the request of an authenticated device and returns at once; the connection
// lives on in goroutines of its own. Its first message is a wakeup, paced as WakeMany paces them. An
// error is a fault and nothing has been written yet.
func (h *Hub) AcceptDevice(w http.ResponseWriter, r *http.Request, deviceID string, receive Receiver) error {
	if !slices.Contains(websocket.Subprotocols(r), protocol.SocketProtocol) {
		return fault.New(fault.Invalid, "the WebSocket must ask for sub-protocol %q", protocol.SocketProtocol)
	}
	if r.Header.Get("Origin") != "" {
		return fault.New(fault.Forbidden, "agents send no Origin; a web page has no business here")
	}
	if !h.upgrades.Allow() {
		return fault.New(fault.Unavailable, "too many devices connect at once: try again later")
	}
	ws, ok, err := h.upgrade(&h.device, w, r)
	if !ok {
		return err
	}
	c := h.newConn(ws, protocol.MaxSocketMessage, h.opt.Queue)
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		c.end()
		return nil
	}
	older := h.devices[deviceID]
	h.devices[deviceID] = c
	c.slot = h.seq % pingSlots
	h.seq++
	h.wg.Add(1)
	h.mu.Unlock()
	if older != nil {
		h.shut(older, websocket.ClosePolicyViolation, "replaced by a newer connection of this device")
	} else {
		h.Notify(Event{Type: "device", ID: deviceID, DeviceID: deviceID})
	}
	// What was assigned before this moment was said to nobody. After a restart all devices come at once.
	h.wakes.add(deviceID)
	go func() {
		defer h.wg.Done()
		h.read(c, receive)
		h.forgetDevice(deviceID, c)
	}()
	return nil
}

// forgetDevice removes c only while it is the device's current connection.
func (h *Hub) forgetDevice(deviceID string, c *conn) {
	h.mu.Lock()
	current := h.devices[deviceID] == c
	if current {
		delete(h.devices, deviceID)
	}
	h.mu.Unlock()
	if current {
		h.Notify(Event{Type: "device", ID: deviceID, DeviceID: deviceID})
	}
}

// AcceptBrowser upgrades the request of a signed-in person. allowed is asked at every ping; when it
// says no (signed out, token revoked) the connection ends. nil means always.
func (h *Hub) AcceptBrowser(w http.ResponseWriter, r *http.Request, allowed func() bool) error {
	if !sameHost(r) {
		return fault.New(fault.Forbidden, "the request comes from another site")
	}
	h.mu.Lock()
	full := len(h.browsers) >= h.opt.MaxBrowsers
	h.mu.Unlock()
	if full || !h.upgrades.Allow() {
		return fault.New(fault.Unavailable, "too many live connections: try again later")
	}
	ws, ok, err := h.upgrade(&h.browser, w, r)
	if !ok {
		return err
	}
	c := h.newConn(ws, 512, 16*collapseAt) // browsers have nothing to say
	c.allowed = allowed
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		c.end()
		return nil
	}
	h.browsers[c] = struct{}{}
	c.slot = h.seq % pingSlots
	h.seq++
	h.wg.Add(1)
	h.mu.Unlock()
	go func() {
		defer h.wg.Done()
		h.read(c, func(context.Context, []byte) ([]byte, error) { return nil, nil })
		h.mu.Lock()
		delete(h.browsers, c)
		h.mu.Unlock()
	}()
	return nil
}

// Connected reports whether the device has a live connection to this server.
func (h *Hub) Connected(deviceID string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.devices[deviceID]
	return ok
}

// ConnectedIDs lists the devices with a live connection, in no order.
func (h *Hub) ConnectedIDs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	ids := make([]string, 0, len(h.devices))
	for id := range h.devices {
		ids = append(ids, id)
	}
	return ids
}

// Disconnect cuts the device's live connection, if it has one, on whatever node it is.
func (h *Hub) Disconnect(deviceID string) {
	if err := h.opt.Bus.Publish(topicCut, []byte(deviceID)); err != nil {
		h.log.Warn("cut live connection", "device", deviceID, "err", err)
		h.cutLocal(deviceID)
	}
}

func (h *Hub) cutLocal(deviceID string) {
	h.mu.Lock()
	c := h.devices[deviceID]
	h.mu.Unlock()
	if c != nil {
		h.shut(c, websocket.ClosePolicyViolation, "the server ended this connection")
	}
}

// Close says goodbye to every peer and waits until all goroutines have ended or ctx is done.
func (h *Hub) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	all := make([]*conn, 0, len(h.devices)+len(h.browsers))
	for _, c := range h.devices {
		all = append(all, c)
	}
	for c := range h.browsers {
		all = append(all, c)
	}
	h.mu.Unlock()
	var bye sync.WaitGroup
	for _, c := range all {
		bye.Go(func() { c.goodbye(websocket.CloseGoingAway, "the server is shutting down") })
	}
	done := make(chan struct{})
	go func() {
		bye.Wait()
		h.stop()
		h.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		h.stop()
		for _, c := range all {
			c.end()
		}
		return fault.Wrap(ctx.Err(), fault.Unavailable, "close live connections")
	}
}

func (h *Hub) pingLoop() {
	ticker := time.NewTicker(h.opt.PingEvery / pingSlots)
	defer ticker.Stop()
	for slot := 0; ; slot = (slot + 1) % pingSlots {
		select {
		case <-h.ctx.Done():
			return
		case <-ticker.C:
		}
		for _, c := range h.inSlot(slot) {
			c.send(frame{kind: websocket.PingMessage})
			if c.allowed != nil {
				h.spawn(func() { // asks the database, which must not keep others from their pings
					if !c.allowed() {
						c.goodbye(websocket.ClosePolicyViolation, "no longer signed in")
					}
				})
			}
		}
	}
}

func (h *Hub) inSlot(slot int) []*conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	var cs []*conn
	for _, c := range h.devices {
		if c.slot == slot {
			cs = append(cs, c)
		}
	}
	for c := range h.browsers {
		if c.slot == slot {
			cs = append(cs, c)
		}
	}
	return cs
}

// Wake tells one device to check in now. A device without a live connection hears it at its own next
// check-in.
func (h *Hub) Wake(deviceID string) {
	if err := h.opt.Bus.Publish(topicWake, []byte(deviceID)); err != nil {
		h.log.Warn("wake device", "device", deviceID, "err", err)
	}
}
