// Package protocol is the wire contract between Muster agents and servers: messages, paths, limits
// and their version history. It imports nothing of either side.
//
// Everything the server wants from a device is a Task, handed out at a check-in; everything a device
// says back is a Report. The WebSocket says "check in now" downwards (Wakeup), carries reports
// upwards and their acknowledgements back (Ack). Decoding is lenient: unknown fields are ignored, so
// that old agents survive new servers; every size is bounded before it is read.
package protocol

import (
	"time"
)

// Version is the protocol version this build speaks. A server accepts MinVersion up to Version.
//
//	1: enrollment, check-in, deploy, inventory, uninstall and remove tasks, reports, WebSocket wakeups.
const (
	Version    = 1
	MinVersion = 1
)

// Paths of the agent API, relative to a server's address.
const (
	PathEnroll      = "/agent/v1/enroll"       // POST EnrollRequest → EnrollResponse
	PathCheckIn     = "/agent/v1/check-in"     // POST CheckInRequest → CheckInResponse
	PathReports     = "/agent/v1/reports"      // POST ReportsRequest → Ack
	PathRotate      = "/agent/v1/secret"       // POST RotateRequest → 204
	PathInstruction = "/agent/v1/instructions" // GET /{sha256} → DSSE envelope
	PathRelease     = "/agent/v1/releases"     // GET /{sha256} → DSSE envelope
	PathFragment    = "/agent/v1/fragments"    // GET /{sha256} → octets, Range honoured
	PathInventory   = "/agent/v1/inventory"    // POST InventoryHead → InventoryAnswer; PUT /{section} lines → 204
	PathSocket      = "/agent/v1/socket"       // WebSocket, sub-protocol SocketProtocol
)

// SocketProtocol is the WebSocket sub-protocol.
const SocketProtocol = "muster.agent.v1"

// Limits. A message over its limit is refused with fault code too_large.
const (
	MaxEnroll        = 64 << 10 // bytes of an EnrollRequest
	MaxCheckIn       = 256 << 10
	MaxTasks         = 256      // tasks in one CheckInResponse
	MaxDocuments     = 4096     // trust documents in one answer
	MaxCheckInAnswer = 16 << 20 // bytes of a CheckInResponse
	MaxReports       = 200      // reports in one message
	MaxReportsBytes  = 8 << 20  // bytes of one ReportsRequest
	MaxSocketMessage = 1 << 20  // bytes of one WebSocket message; larger batches go by HTTPS
	MaxSocketDown    = 64 << 10 // bytes of one WebSocket message from the server
	MaxOutputTail    = 64 << 10 // bytes of command output kept in a report
	MaxMessage       = 2 << 10  // bytes of a report's message
	MaxFragment      = 64 << 20 // bytes of one fragment
)

// AuthorizationPrefix starts a device's bearer credential: "mdev_<device id>_<secret>", the secret
// being 64 hex digits. See Credential.
const AuthorizationPrefix = "mdev_"

// Facts are what a device tells about itself at enrollment and whenever they change.
type Facts struct {
	Hostname     string    `json:"hostname"`
	OS           string    `json:"os"`         // GOOS
	OSName       string    `json:"os_name"`    // "Debian GNU/Linux"
	OSVersion    string    `json:"os_version"` // "12"
	Kernel       string    `json:"kernel"`
	Arch         string    `json:"arch"` // GOARCH
	CPU          string    `json:"cpu"`
	Cores        int       `json:"cores"`
	MemoryBytes  int64     `json:"memory_bytes"`
	MachineID    string    `json:"machine_id"`
	Timezone     string    `json:"timezone"`
	IPs          []string  `json:"ips"`
	MACs         []string  `json:"macs"`
	AgentVersion string    `json:"agent_version"`
	BootID       string    `json:"boot_id"`
	BootedAt     time.Time `json:"booted_at"`
	Privileged   bool      `json:"privileged"` // the agent runs as root or SYSTEM
	ChangedAt    time.Time `json:"changed_at"`
	TasksAllowed []string  `json:"tasks_allowed"` // kinds this device lets this server ask for
	// What the firmware says of the computer; serial numbers are claims and identify nothing.
	Manufacturer   string `json:"manufacturer,omitempty"`
	Product        string `json:"product,omitempty"`
	ProductUUID    string `json:"product_uuid,omitempty"`
	Serial         string `json:"serial,omitempty"`
	Virtualisation string `json:"virtualisation,omitempty"` // kvm, vmware, docker, …; empty for a physical machine
	// Modules are the kinds of task that this agent knows, whoever may ask for them; a module from outside is
	// one of the kind TaskModule and stands here as "module:" and its name.
	Modules []string `json:"modules,omitempty"`
	// ClockSkewSeconds is the device's clock minus the server's as of an earlier check-in, when they are
	// more than 5 minutes apart.
	ClockSkewSeconds int64 `json:"clock_skew_seconds,omitempty"`
}

// EnrollRequest asks to become a device. The agent has persisted nonce and secret before it asks; the
// same nonce gets the same device again.
type EnrollRequest struct {
	Protocol     int    `json:"protocol"`
	Token        string `json:"token"`
	Nonce        string `json:"nonce"`         // 64 hex digits
	SecretSHA256 string `json:"secret_sha256"` // of the secret's 64 hex digits as text, lower-case hex
	Facts        Facts  `json:"facts"`
}

// EnrollResponse makes the device. State is DeviceActive or DevicePending (waits for approval).
type EnrollResponse struct {
	DeviceID   string    `json:"device_id"`
	State      string    `json:"state"`
	ServerTime time.Time `json:"server_time"`
	// Trust holds the chain of trust documents (DSSE envelopes), oldest first. The agent accepts it only
	// if it leads from the root-key fingerprint that came with enrollment.
	Trust Documents `json:"trust"`
}

// States of a device.
const (
	DevicePending     = "pending"     // waits for approval: no tasks
	DeviceActive      = "active"      //
	DeviceQuarantined = "quarantined" // identity seen twice: no tasks that change the computer
	DeviceRevoked     = "revoked"     // its credential answers 401
	DeviceRemoved     = "removed"     // its agent has left, as it was asked to; its credential answers 401
)

// CheckInRequest is the agent's poll.
type CheckInRequest struct {
	Protocol     int       `json:"protocol"`
	AgentVersion string    `json:"agent_version"`
	InstanceID   string    `json:"instance_id"` // new at each start of the resident process
	BootID       string    `json:"boot_id"`
	MachineID    string    `json:"machine_id"`
	Time         time.Time `json:"time"` // the device's clock
	TrustVersion int       `json:"trust_version"`
	// Connected says that this session holds a WebSocket.
	Connected bool `json:"connected"`
	// Attempts lists the deployment attempts whose journal the device still holds unfinished.
	Attempts []string `json:"attempts,omitempty"`
	// Facts only when they changed since the last check-in that was answered.
	Facts *Facts `json:"facts,omitempty"`
	// Footprint is what the agent costs its computer.
	Footprint *Footprint `json:"footprint,omitempty"`
}

// Footprint is what the agent has cost its computer since Since: the resident process and, for processor
// time and octets, the tasks it started.
type Footprint struct {
	Since         time.Time `json:"since"`
	CPUMS         int64     `json:"cpu_ms"`          // user and system
	RSSBytes      int64     `json:"rss_bytes"`       // of the resident process now
	RSSHighBytes  int64     `json:"rss_high_bytes"`  // of the resident process, at most
	TaskHighBytes int64     `json:"task_high_bytes"` // of one task process, at most
	SentBytes     int64     `json:"sent_bytes"`      // to this server
	ReceivedBytes int64     `json:"received_bytes"`  // from this server
}

// CheckInResponse says what to do.
type CheckInResponse struct {
	ServerTime time.Time `json:"server_time"`
	State      string    `json:"state"` // of the device
	// NextSeconds asks for an earlier next check-in than the agent's own schedule; 0 leaves it.
	NextSeconds int       `json:"next_seconds,omitempty"`
	Tasks       Tasks     `json:"tasks"`
	Trust       Documents `json:"trust,omitempty"` // newer trust documents, oldest first
	// Log says which log lines to forward; without it none.
	Log *LogSetting `json:"log,omitempty"`
}

// Kinds of report.
const (
	ReportDeployment = "deployment"
	ReportFacts      = "facts"
	ReportLog        = "log"  // lines of the agent's log
	ReportTask       = "task" // how a task stands that is not a deployment, or why one was not begun
)

// Report is one thing a device says. ID is a UUIDv7 that the device made and journalled: the server
// keeps one row per id, so a report may be sent any number of times.
type Report struct {
	ID         string            `json:"id"`
	Kind       string            `json:"kind"`
	Time       time.Time         `json:"time"` // the device's clock when it happened
	Deployment *DeploymentReport `json:"deployment,omitempty"`
	Facts      *Facts            `json:"facts,omitempty"`
	Task       *TaskReport       `json:"task,omitempty"`
	Log        *LogReport        `json:"log,omitempty"`
}

// DeploymentReport is one step of an attempt.
type DeploymentReport struct {
	DeploymentID string `json:"deployment_id"`
	AttemptID    string `json:"attempt_id"`
	State        State  `json:"state"`
	Reason       Reason `json:"reason,omitempty"`
	Message      string `json:"message,omitempty"` // for people, at most MaxMessage bytes
	// Result of a command, on terminal states.
	ExitCode    *int   `json:"exit_code,omitempty"`
	Signal      string `json:"signal,omitempty"`       // "killed", when a signal ended the command
	Output      string `json:"output,omitempty"`       // tail, valid UTF-8, at most MaxOutputTail bytes
	OutputBytes int64  `json:"output_bytes,omitempty"` // all that the command wrote
	DurationMS  int64  `json:"duration_ms,omitempty"`  // of the command
	// Result of store.
	Files int64 `json:"files,omitempty"`
	Bytes int64 `json:"bytes,omitempty"`
	// NextTry is when the device means to go on, with StateWaiting.
	NextTry *time.Time `json:"next_try,omitempty"`
}

// ReportsRequest carries reports by HTTPS.
type ReportsRequest struct {
	Reports []Report `json:"reports"`
}

// Ack names the reports that are durably committed (or were before), and those that the server will
// never take, with the fault code; the device forgets both.
type Ack struct {
	IDs     []string      `json:"ids"`
	Refused []RefusedItem `json:"refused,omitempty"`
}

// RefusedItem is one refused report.
type RefusedItem struct {
	ID      string `json:"id"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// RotateRequest tells the server the hash of the device's next secret. The first use of the next
// secret retires the old one.
type RotateRequest struct {
	NextSHA256 string `json:"next_sha256"`
}

// Types of WebSocket messages.
const (
	SocketWakeup   = "wakeup"   // down: check in now
	SocketAck      = "ack"      // down: Ack
	SocketReports  = "reports"  // up: Reports
	SocketProgress = "progress" // up: Progress, not spooled, may be lost
)

// SocketMessage is one WebSocket text message, either way.
type SocketMessage struct {
	Type     string    `json:"type"`
	Ack      *Ack      `json:"ack,omitempty"`
	Reports  []Report  `json:"reports,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
}

// Progress is how far a fetch has come.
type Progress struct {
	DeploymentID string `json:"deployment_id"`
	AttemptID    string `json:"attempt_id"`
	Done         int64  `json:"done"`  // bytes
	Total        int64  `json:"total"` // bytes
}

// Problem is the body of every error answer (RFC 9457, application/problem+json).
type Problem struct {
	Type   string         `json:"type,omitempty"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail,omitempty"`
	Code   string         `json:"code"` // a fault.Code
	Errors []ProblemField `json:"errors,omitempty"`
}

// ProblemField is one offending input.
type ProblemField struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}
