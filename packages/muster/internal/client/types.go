package client

import (
	"time"

	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// Me is who one is logged in as.
type Me struct {
	Username string `json:"username"`
	Kind     string `json:"kind"`
}

// ServerInfo describes the server.
type ServerInfo struct {
	Name            string    `json:"name"`
	Version         string    `json:"version"`
	URLs            []string  `json:"urls"`
	CAFingerprint   string    `json:"ca_fingerprint"`
	RootFingerprint string    `json:"root_fingerprint"`
	ServerCanSign   bool      `json:"server_can_sign"`
	StartedAt       time.Time `json:"started_at"`
}

// APIToken is a credential of the command line. Token is set only in the answer to its creation.
type APIToken struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
	Token      string     `json:"token,omitempty"`
}

// EnrollmentToken admits new devices. Token and Enrollment are set only in the answer to its creation.
type EnrollmentToken struct {
	ID            string     `json:"id"`
	Name          string     `json:"name"`
	Uses          int        `json:"uses"`
	MaxUses       int        `json:"max_uses"` // 0 is unlimited
	ExpiresAt     *time.Time `json:"expires_at,omitempty"`
	NeedsApproval bool       `json:"needs_approval"`
	Groups        []GroupRef `json:"groups"`
	Revoked       bool       `json:"revoked"`
	CreatedAt     time.Time  `json:"created_at"`
	Token         string     `json:"token,omitempty"`
	Enrollment    string     `json:"enrollment,omitempty"`
}

// Device is a computer with an agent. Facts and footprint come with a single device only.
type Device struct {
	ID              string          `json:"id"`
	Hostname        string          `json:"hostname"`
	State           string          `json:"state"`
	OS              string          `json:"os"`
	OSName          string          `json:"os_name"`
	OSVersion       string          `json:"os_version"`
	Arch            string          `json:"arch"`
	AgentVersion    string          `json:"agent_version"`
	TrustVersion    int             `json:"trust_version"`
	Connected       bool            `json:"connected"`
	LastSeenAt      *time.Time      `json:"last_seen_at,omitempty"`
	EnrolledAt      *time.Time      `json:"enrolled_at,omitempty"`
	IPs             []string        `json:"ips"`
	OpenDeployments int             `json:"open_deployments"`
	OpenTasks       int             `json:"open_tasks"`
	Facts           *protocol.Facts `json:"facts,omitempty"`
	Footprint       *Footprint      `json:"footprint,omitempty"`
	Groups          []GroupRef      `json:"groups,omitempty"`
}

// Footprint is what the agent has cost its computer.
type Footprint struct {
	ReportedAt time.Time `json:"reported_at"`
	protocol.Footprint
}

// Upload is an archive on its way to the server.
type Upload struct {
	ID           string    `json:"id"`
	FileName     string    `json:"file_name"`
	Size         int64     `json:"size"`
	Offset       int64     `json:"offset"`
	State        string    `json:"state"` // open or finished
	FragmentSize int64     `json:"fragment_size"`
	CreatedAt    time.Time `json:"created_at"`
	Archive      *Archive  `json:"archive,omitempty"`
}

// Archive is what the server says of an archive. Fragments is their number.
type Archive struct {
	Format    string `json:"format"`
	Size      int64  `json:"size"`
	SHA256    string `json:"sha256"`
	Fragments int    `json:"fragments"`
}

// NewPackage is what an author decides about a package.
type NewPackage struct {
	Name             string                    `json:"name"`
	Version          string                    `json:"version"`
	Priority         *int                      `json:"priority,omitempty"`
	Action           instruction.Action        `json:"action"`
	UploadID         string                    `json:"upload_id,omitempty"`
	Command          []string                  `json:"command,omitempty"`
	StorePath        string                    `json:"store_path,omitempty"`
	TimeLimitSeconds int                       `json:"time_limit_seconds,omitempty"`
	Env              map[string]string         `json:"env,omitempty"`
	ExitCodes        []instruction.ExitCode    `json:"exit_codes,omitempty"`
	Detect           *instruction.Detection    `json:"detect,omitempty"`
	Requires         *instruction.Requirements `json:"requires,omitempty"`
	Retry            *instruction.Retry        `json:"retry,omitempty"`
	Rerun            instruction.Rerun         `json:"rerun,omitempty"`
	NeedsCleanBoot   bool                      `json:"needs_clean_boot,omitempty"`
	Private          bool                      `json:"private,omitempty"`
}

// Package is a package on the server.
type Package struct {
	ID                string     `json:"id"`
	State             string     `json:"state"` // draft, active or retired
	Signed            bool       `json:"signed"`
	SignedBy          []string   `json:"signed_by,omitempty"`
	IssuedAt          *time.Time `json:"issued_at,omitempty"`
	ExpiresAt         *time.Time `json:"expires_at,omitempty"`
	InstructionDigest string     `json:"instruction_digest,omitempty"`
	Refusal           string     `json:"refusal,omitempty"` // why devices would refuse the signature today
	Partial           *Partial   `json:"partial,omitempty"`
	Archive           *Archive   `json:"archive,omitempty"`
	CreatedAt         time.Time  `json:"created_at"`
	CreatedBy         string     `json:"created_by"`
	ActivatedAt       *time.Time `json:"activated_at,omitempty"`
	RetiredAt         *time.Time `json:"retired_at,omitempty"`
	Deployments       Counts     `json:"deployments"`
	NewPackage
}

// Partial is what waits for more authors to sign it.
type Partial struct {
	SignedBy  []string  `json:"signed_by"`
	Needed    int       `json:"needed"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Counts sums up the deployments of a package.
type Counts struct {
	Total     int `json:"total"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
	Open      int `json:"open"`
}

// NewAssignment gives a package to devices.
type NewAssignment struct {
	PackageID string     `json:"package_id"`
	DeviceIDs []string   `json:"device_ids,omitempty"`
	All       bool       `json:"all,omitempty"`
	NotBefore *time.Time `json:"not_before,omitempty"`
}

// Assignment is a package given to devices.
type Assignment struct {
	ID             string               `json:"id"`
	PackageID      string               `json:"package_id"`
	PackageName    string               `json:"package_name"`
	PackageVersion string               `json:"package_version"`
	DeviceCount    int                  `json:"device_count"`
	NotBefore      *time.Time           `json:"not_before,omitempty"`
	CreatedAt      time.Time            `json:"created_at"`
	CreatedBy      string               `json:"created_by"`
	Deployments    []AssignedDeployment `json:"deployments,omitempty"`
}

// AssignedDeployment names one deployment of an assignment.
type AssignedDeployment struct {
	ID       string `json:"id"`
	DeviceID string `json:"device_id"`
	Hostname string `json:"hostname"`
}

// Deployment is one package on one device. The timeline comes with a single deployment only.
type Deployment struct {
	ID             string          `json:"id"`
	PackageID      string          `json:"package_id"`
	PackageName    string          `json:"package_name"`
	PackageVersion string          `json:"package_version"`
	Priority       int             `json:"priority"`
	DeviceID       string          `json:"device_id"`
	Hostname       string          `json:"hostname"`
	AssignmentID   string          `json:"assignment_id"`
	State          protocol.State  `json:"state"`
	Reason         protocol.Reason `json:"reason"`
	Summary        string          `json:"summary"`
	Detail         string          `json:"detail"`
	Message        string          `json:"message,omitempty"`
	WaitsFor       string          `json:"waits_for,omitempty"`
	Attempt        int             `json:"attempt"`
	AttemptID      string          `json:"attempt_id,omitempty"`
	Blocks         bool            `json:"blocks,omitempty"` // is over, but holds back other packages
	ExitCode       *int            `json:"exit_code,omitempty"`
	Output         string          `json:"output,omitempty"`
	NotBefore      *time.Time      `json:"not_before,omitempty"`
	CreatedAt      time.Time       `json:"created_at"`
	UpdatedAt      time.Time       `json:"updated_at"`
	FinishedAt     *time.Time      `json:"finished_at,omitempty"`
	Progress       *Progress       `json:"progress,omitempty"`
	Timeline       []TimelineEntry `json:"timeline,omitempty"`
}

// Progress is how far a fetch has come, in bytes.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// TimelineEntry is one state a deployment went through.
type TimelineEntry struct {
	Seq      int             `json:"seq"`
	Time     time.Time       `json:"time"`
	Source   string          `json:"source"`
	Attempt  int             `json:"attempt"`
	State    protocol.State  `json:"state"`
	Reason   protocol.Reason `json:"reason,omitempty"`
	Message  string          `json:"message"`
	ExitCode *int            `json:"exit_code,omitempty"`
	Output   string          `json:"output,omitempty"`
	NextAt   *time.Time      `json:"next_at,omitempty"`
	WaitsFor string          `json:"waits_for,omitempty"`
}

// AuditEntry is one operation of an administrator.
type AuditEntry struct {
	ID        string         `json:"id"`
	Time      time.Time      `json:"time"`
	Actor     string         `json:"actor"`
	ActorKind string         `json:"actor_kind"`
	Operation string         `json:"operation"`
	Target    string         `json:"target"`
	Status    int            `json:"status"`
	RemoteIP  string         `json:"remote_ip"`
	Details   map[string]any `json:"details,omitempty"`
}

// Event is a nudge from the server: something of this id changed.
type Event struct {
	Type      string    `json:"type"`
	ID        string    `json:"id"`
	DeviceID  string    `json:"device_id,omitempty"`
	PackageID string    `json:"package_id,omitempty"`
	Progress  *Progress `json:"progress,omitempty"`
}
