package deploy

import (
	"time"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
)

const (
	chunk = 500 // ids in one statement
	rows  = 200 // rows in one insert
)

type deployStore struct {
	db     *store.DB
	random func() float64 // in [0, 1)
}

type assignmentRow struct {
	ID             string `gorm:"primaryKey"`
	PackageID      string
	PackageName    string
	PackageVersion string
	AllDevices     bool
	DeviceCount    int
	NotBefore      *time.Time
	CreatedBy      string
	CreatedAt      time.Time
	UnassignedAt   *time.Time
}

func (assignmentRow) TableName() string { return "assignments" }

type deploymentRow struct {
	ID                string `gorm:"primaryKey"`
	AssignmentID      string
	DeviceID          string
	Hostname          string
	PackageID         string
	PackageName       string
	PackageVersion    string
	Priority          int
	Instruction       string
	RetryAttempts     int
	RetryDelaySeconds int
	RerunSafe         bool
	State             protocol.State
	Reason            protocol.Reason
	Message           string
	WaitsFor          string
	Live              bool
	LiveKey           *string
	Attempt           int
	AttemptID         string
	Failures          int
	ExitCode          *int
	Signal            string
	NotBefore         *time.Time
	TimelineSeq       int
	CreatedAt         time.Time
	UpdatedAt         time.Time
	FinishedAt        *time.Time

	// Reached is how far the current attempt has come; read by live alone.
	Reached protocol.State `gorm:"->"`
}

func (deploymentRow) TableName() string { return "deployments" }

func (d *deploymentRow) setLive(live bool) {
	d.Live, d.LiveKey = live, nil
	if live {
		key := d.DeviceID + ":" + d.PackageID
		d.LiveKey = &key
	}
}

func (d *deploymentRow) label() string { return d.PackageName + " " + d.PackageVersion }

func (d *deploymentRow) result() result {
	return result{
		State: d.State, Reason: d.Reason, ExitCode: d.ExitCode, Signal: d.Signal,
		WaitsFor: d.WaitsFor, NextAt: d.NotBefore, Attempt: d.Attempt,
	}
}

func (d *deploymentRow) policy() policy {
	return policy{
		Priority: d.Priority, RetryAttempts: d.RetryAttempts, RerunSafe: d.RerunSafe, Failures: d.Failures,
		RetryDelay: time.Duration(d.RetryDelaySeconds) * time.Second,
	}
}

func (d *deploymentRow) gated(now time.Time) gated {
	return gated{
		ID: d.ID, Priority: d.Priority, Package: d.label(), State: d.State, Reason: d.Reason, WaitsFor: d.WaitsFor,
		Scheduled: d.scheduled(now),
	}
}

// delayed reports whether the current attempt is for later.
func (d *deploymentRow) delayed(now time.Time) bool {
	return d.NotBefore != nil && d.NotBefore.After(now)
}

// scheduled reports whether the first attempt is for later: nothing has been tried yet.
func (d *deploymentRow) scheduled(now time.Time) bool { return d.Attempt == 1 && d.delayed(now) }

type attemptRow struct {
	ID           string `gorm:"primaryKey"`
	DeploymentID string
	Number       int
	State        protocol.State
	LastReport   string
	ResultReport string
	Instruction  string // the deployment's when the attempt was made
	Reports      int    // in the timeline
	ExitCode     *int
	Signal       string
	Output       string
	OutputBytes  int64
	DurationMS   int64 `gorm:"column:duration_ms"`
	Files        int64
	Bytes        int64
	CreatedAt    time.Time
	FinishedAt   *time.Time
}

func (attemptRow) TableName() string { return "deployment_attempts" }

type timelineRow struct {
	DeploymentID string `gorm:"primaryKey"`
	Seq          int    `gorm:"primaryKey;autoIncrement:false"`
	ReportID     *string
	DeviceID     string
	Time         time.Time
	ReceivedAt   time.Time
	Source       string
	Attempt      int
	State        protocol.State
	Reason       protocol.Reason
	Message      string
	ExitCode     *int
	NextAt       *time.Time
	WaitsFor     string
}

func (timelineRow) TableName() string { return "deployment_timeline" }

// Sources of a timeline row.
const (
	sourceServer = "server"
	sourceDevice = "device"
	sourceAdmin  = "admin"
)

// chunks cuts ids into parts that fit one statement.
func chunks(ids []string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		for len(ids) > 0 {
			n := min(chunk, len(ids))
			if !yield(ids[:n]) {
				return
			}
			ids = ids[n:]
		}
	}
}
