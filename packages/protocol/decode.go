package protocol

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/google/uuid"

	"github.com/muster/muster/packages/fault"
)

// Decode reads one JSON message of at most limit bytes into v. Unknown fields are ignored. A longer
// message is a fault of code too_large; anything that is not one JSON value of v's shape is invalid.
func Decode(r io.Reader, limit int64, v any) error {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "read the message")
	}
	if int64(len(b)) > limit {
		return fault.New(fault.TooLarge, "the message is over its limit of %d bytes", limit)
	}
	return Unmarshal(b, v)
}

// Unmarshal decodes a message whose size the caller has bounded.
func Unmarshal(b []byte, v any) error {
	err := json.Unmarshal(b, v)
	if err == nil {
		return nil
	}
	var own *fault.Error
	if errors.As(err, &own) {
		return own
	}
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		return fault.Field(typ.Field, "%s must be a %s, not a %s", typ.Field, typ.Type, typ.Value)
	}
	return fault.New(fault.Invalid, "the message is not valid JSON: %v", err)
}

// Validate checks what a report is about: a UUIDv7 as its id, a known kind with its body, and for a
// deployment ids and a state that a device reports. Texts are not looked at: whoever stores them cuts what
// is too long, so that no result is lost for its length. Every error is a fault, and for good.
func (r *Report) Validate() error {
	if id, ok := canonical(r.ID); !ok || id.Version() != 7 {
		return fault.Field("id", "the report id %.40q is not a UUIDv7 in lower case", r.ID)
	}
	switch {
	case r.Kind == ReportDeployment && r.Deployment != nil:
		return r.Deployment.validate()
	case r.Kind == ReportTask && r.Task != nil:
		return r.Task.validate()
	case r.Kind == ReportLog && r.Log != nil:
		return r.Log.validate()
	case r.Kind == ReportFacts && r.Facts != nil:
		return nil
	default:
		return fault.New(fault.Unsupported, "report kind %.40q is not known here, or its body is missing", r.Kind)
	}
}

func (d *DeploymentReport) validate() error {
	if _, ok := canonical(d.DeploymentID); !ok {
		return fault.Field("deployment.deployment_id", "%.40q is not the id of a deployment", d.DeploymentID)
	}
	if _, ok := canonical(d.AttemptID); !ok {
		return fault.Field("deployment.attempt_id", "%.40q is not the id of an attempt", d.AttemptID)
	}
	if !d.State.FromDevice() {
		return fault.Field("deployment.state", "a device does not report state %.40q", d.State)
	}
	return nil
}

func (t *TaskReport) validate() error {
	switch {
	case t.State != "" && !t.State.FromDevice():
		return fault.Field("task.state", "a device does not report state %.40q", t.State)
	case len(t.Items) > MaxItems:
		return fault.Field("task.items", "%d items; at most %d are taken", len(t.Items), MaxItems)
	}
	return nil
}

// Bounds of what a deploy task names, in bytes. A package's own limits are in characters.
const (
	maxTaskName    = 480
	maxTaskVersion = 256
)

// Validate checks that a task's ids and digest are such, before one of them becomes a path or a part of
// an address, and bounds its texts. Every error is a fault of code invalid.
func (d *DeployTask) Validate() error {
	for _, f := range []struct{ name, id string }{
		{"deployment_id", d.DeploymentID}, {"attempt_id", d.AttemptID}, {"package_id", d.PackageID},
	} {
		if _, ok := canonical(f.id); !ok {
			return fault.Field("deploy."+f.name, "the %s %.40q is not a UUID in lower case", f.name, f.id)
		}
	}
	switch {
	case !IsSHA256(d.Instruction):
		return fault.Field("deploy.instruction", "the instruction %.80q is not named by a SHA-256 digest", d.Instruction)
	case len(d.PackageName) > maxTaskName || len(d.Version) > maxTaskVersion:
		return fault.Field("deploy.package_name", "the package's name or version is over its limit (%d and %d bytes)", len(d.PackageName), len(d.Version))
	}
	return nil
}

// canonical parses a UUID that is written in the one way that ids are compared in.
func canonical(s string) (uuid.UUID, bool) {
	id, err := uuid.Parse(s)
	return id, err == nil && id.String() == s
}
