package migrations

import (
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
)

func device() []*gormigrate.Migration {
	type enrollmentToken struct {
		ID            string    `gorm:"type:char(36);primaryKey"`
		Name          string    `gorm:"size:120;not null"`
		SecretSHA256  string    `gorm:"column:secret_sha256;type:char(64);not null;uniqueIndex:idx_enrollment_tokens_secret"`
		Uses          int       `gorm:"not null"`
		MaxUses       int       `gorm:"not null"` // 0: any number
		NeedsApproval bool      `gorm:"not null"`
		ExpiresAt     time.Time `gorm:"not null"`
		RevokedAt     *time.Time
		CreatedBy     string    `gorm:"size:120;not null"`
		CreatedAt     time.Time `gorm:"not null"`
	}
	type deviceRow struct {
		ID               string    `gorm:"type:char(36);primaryKey"`
		State            string    `gorm:"size:20;not null;index:idx_devices_state"`
		Hostname         string    `gorm:"size:255;not null;index:idx_devices_hostname,priority:1"`
		OS               string    `gorm:"column:os;size:40;not null"`
		OSName           string    `gorm:"column:os_name;size:255;not null"`
		OSVersion        string    `gorm:"column:os_version;size:120;not null"`
		Arch             string    `gorm:"size:40;not null"`
		AgentVersion     string    `gorm:"size:64;not null"`
		Nonce            string    `gorm:"type:char(64);not null;uniqueIndex:idx_devices_nonce"`
		SecretSHA256     string    `gorm:"column:secret_sha256;type:char(64);not null"`
		NextSHA256       string    `gorm:"column:next_sha256;size:64;not null"` // empty unless a rotation is under way
		MachineID        string    `gorm:"size:128;not null"`                   // as enrolled or approved
		SeenMachineID    string    `gorm:"size:128;not null"`                   // the one that led to quarantine
		InstanceID       string    `gorm:"size:64;not null"`
		PastInstances    string    `gorm:"size:1024;not null"` // newest first, separated by spaces
		QuarantineReason string    `gorm:"size:500;not null"`
		TrustVersion     int       `gorm:"not null"`
		Facts            string    `gorm:"type:mediumtext;not null"` // JSON
		FactsChangedAt   time.Time `gorm:"not null"`
		TokenID          string    `gorm:"type:char(36);not null"`
		EnrolledFrom     string    `gorm:"size:64;not null"` // address
		EnrolledAt       time.Time `gorm:"not null"`
		LastSeenAt       *time.Time
		UpdatedAt        time.Time `gorm:"not null"`
	}
	type assignment struct {
		ID             string `gorm:"type:char(36);primaryKey"`
		PackageID      string `gorm:"type:char(36);not null;index:idx_assignments_package"`
		PackageName    string `gorm:"size:120;not null"`
		PackageVersion string `gorm:"size:64;not null"`
		AllDevices     bool   `gorm:"not null"`
		DeviceCount    int    `gorm:"not null"`
		NotBefore      *time.Time
		CreatedBy      string    `gorm:"size:120;not null"`
		CreatedAt      time.Time `gorm:"not null"`
		UnassignedAt   *time.Time
	}
	type deployment struct {
		ID                string `gorm:"type:char(36);primaryKey"`
		AssignmentID      string `gorm:"type:char(36);not null;index:idx_deployments_assignment"`
		DeviceID          string `gorm:"type:char(36);not null;index:idx_deployments_device,priority:1"`
		Hostname          string `gorm:"size:255;not null"`
		PackageID         string `gorm:"type:char(36);not null;index:idx_deployments_package,priority:1"`
		PackageName       string `gorm:"size:120;not null"`
		PackageVersion    string `gorm:"size:64;not null"`
		Priority          int    `gorm:"not null"`
		Instruction       string `gorm:"type:char(64);not null"` // SHA-256 of the signed envelope
		RetryAttempts     int    `gorm:"not null"`
		RetryDelaySeconds int    `gorm:"not null"`
		RerunSafe         bool   `gorm:"not null"`

		State    string `gorm:"size:20;not null;index:idx_deployments_package,priority:2"`
		Reason   string `gorm:"size:40;not null"`
		Message  string `gorm:"size:2048;not null"`
		WaitsFor string `gorm:"size:255;not null"`
		// Live marks what still matters to its device: may go on, or blocks others. LiveKey is set exactly
		// then, so that a device never has two live deployments of one package.
		Live        bool    `gorm:"not null;index:idx_deployments_device,priority:2;index:idx_deployments_due,priority:1"`
		LiveKey     *string `gorm:"size:80;uniqueIndex:idx_deployments_live_key"`
		Attempt     int     `gorm:"not null"`
		AttemptID   string  `gorm:"type:char(36);not null"`
		Failures    int     `gorm:"not null"`
		ExitCode    *int
		Signal      string     `gorm:"size:40;not null"`
		NotBefore   *time.Time `gorm:"index:idx_deployments_due,priority:2"`
		TimelineSeq int        `gorm:"not null"`
		CreatedAt   time.Time  `gorm:"not null"`
		UpdatedAt   time.Time  `gorm:"not null"`
		FinishedAt  *time.Time
	}
	type attempt struct {
		ID           string `gorm:"type:char(36);primaryKey"`
		DeploymentID string `gorm:"type:char(36);not null;index:idx_deployment_attempts_deployment"`
		Number       int    `gorm:"not null"`
		State        string `gorm:"size:20;not null"` // furthest state reached
		LastReport   string `gorm:"size:36;not null"` // newest report that was applied
		ResultReport string `gorm:"size:36;not null"` // report that carried the result
		Instruction  string `gorm:"size:64;not null"` // digest of the envelope when the attempt was made
		Reports      int    `gorm:"not null"`         // in the timeline
		ExitCode     *int
		Signal       string    `gorm:"size:40;not null"`
		Output       string    `gorm:"type:mediumtext;not null"`
		OutputBytes  int64     `gorm:"not null"`
		DurationMS   int64     `gorm:"column:duration_ms;not null"`
		Files        int64     `gorm:"not null"`
		Bytes        int64     `gorm:"not null"`
		CreatedAt    time.Time `gorm:"not null"`
		FinishedAt   *time.Time
	}
	type timelineRow struct {
		DeploymentID string    `gorm:"type:char(36);primaryKey"`
		Seq          int       `gorm:"primaryKey;autoIncrement:false"`
		ReportID     *string   `gorm:"type:char(36);uniqueIndex:idx_deployment_timeline_report,priority:1"`
		DeviceID     string    `gorm:"type:char(36);not null;uniqueIndex:idx_deployment_timeline_report,priority:2"`
		Time         time.Time `gorm:"not null"`
		ReceivedAt   time.Time `gorm:"not null"`
		Source       string    `gorm:"size:20;not null"` // server, device, admin
		Attempt      int       `gorm:"not null"`
		State        string    `gorm:"size:20;not null"`
		Reason       string    `gorm:"size:40;not null"`
		Message      string    `gorm:"size:2048;not null"`
		ExitCode     *int
		NextAt       *time.Time
		WaitsFor     string `gorm:"size:255;not null"`
	}
	type retiredSecret struct {
		PreviousSHA256 string `gorm:"column:previous_sha256;size:64;not null;default:''"` // the secret before the present one
	}
	type seenSecret struct {
		SeenSecretSHA256 string `gorm:"column:seen_secret_sha256;size:64;not null;default:''"` // the retired one that led to a quarantine
	}
	return []*gormigrate.Migration{
		createTable("0020_enrollment_tokens", "enrollment_tokens", &enrollmentToken{}),
		createTable("0021_devices", "devices", &deviceRow{}),
		createTable("0022_assignments", "assignments", &assignment{}),
		createTable("0023_deployments", "deployments", &deployment{}),
		createTable("0024_deployment_attempts", "deployment_attempts", &attempt{}),
		createTable("0025_deployment_timeline", "deployment_timeline", &timelineRow{}),
		addColumn("0026_devices_previous_secret", "devices", "PreviousSHA256", &retiredSecret{}),
		addColumn("0027_devices_seen_secret", "devices", "SeenSecretSHA256", &seenSecret{}),
	}
}
