package protocol

import (
	"encoding/json"
	"time"

	"github.com/muster/muster/packages/fault"
)

// Kinds of task.
const (
	TaskDeploy    = "deploy"
	TaskInventory = "inventory"
	TaskUninstall = "uninstall"
	TaskUpdate    = "update"
	TaskRemove    = "remove"
	TaskModule    = "module"
	// TaskLog is no task that is offered: a device that does not allow it forwards no log lines, see LogSetting.
	TaskLog = "log"
)

// Task is one thing the server wants. Exactly the field of its kind is set. A task of a kind other than
// deploy is named by its ID, a UUID: the device carries it out at most once, however often it is offered.
type Task struct {
	ID        string         `json:"id"`
	Kind      string         `json:"kind"`
	Deploy    *DeployTask    `json:"deploy,omitempty"`
	Inventory *InventoryTask `json:"inventory,omitempty"`
	Uninstall *UninstallTask `json:"uninstall,omitempty"`
	Update    *UpdateTask    `json:"update,omitempty"`
	Remove    *RemoveTask    `json:"remove,omitempty"`
	Module    *ModuleTask    `json:"module,omitempty"`
}

// Work names what the task asks for, however often and under whatever id it is offered: the attempt of a
// deployment, else the task itself.
func (t *Task) Work() string {
	if t.Kind == TaskDeploy && t.Deploy != nil {
		return t.Deploy.AttemptID
	}
	return t.ID
}

// Validate checks that a task of a known kind has the body of its kind, no other one, and ids that may
// become a path. Every error is a fault of code invalid.
func (t *Task) Validate() error {
	bodies := map[string]bool{
		TaskDeploy: t.Deploy != nil, TaskInventory: t.Inventory != nil, TaskUninstall: t.Uninstall != nil, TaskRemove: t.Remove != nil,
		TaskUpdate: t.Update != nil, TaskModule: t.Module != nil,
	}
	for kind, set := range bodies {
		if set != (kind == t.Kind) && (set || kind != TaskInventory) { // an inventory has nothing that must be said
			return fault.Field("kind", "a task of the kind %.40q says what to do for exactly that kind", t.Kind)
		}
	}
	if t.Kind == TaskDeploy {
		return t.Deploy.Validate()
	}
	if _, ok := canonical(t.ID); !ok {
		return fault.Field("id", "the task id %.40q is not a UUID in lower case", t.ID)
	}
	switch t.Kind {
	case TaskLog:
		return fault.Field("kind", "%q is no task that is carried out", t.Kind)
	case TaskUninstall:
		return t.Uninstall.Validate()
	case TaskUpdate:
		return t.Update.Validate()
	case TaskModule:
		return t.Module.Validate()
	case TaskInventory:
		return t.Inventory.validate()
	default:
		return nil
	}
}

// Changes reports whether tasks of the kind change the computer: they wait for one another, over all
// servers of a device.
func Changes(kind string) bool {
	switch kind {
	case TaskDeploy, TaskUninstall, TaskUpdate, TaskRemove:
		return true
	default:
		return false
	}
}

// DeployTask asks to carry out one attempt of a deployment. Tasks are listed in the order they are to
// run. The server offers only what may run now: held, delayed and cancelled deployments are left out.
type DeployTask struct {
	DeploymentID string `json:"deployment_id"`
	AttemptID    string `json:"attempt_id"` // a command runs at most once per attempt id
	Attempt      int    `json:"attempt"`    // from 1
	PackageID    string `json:"package_id"`
	PackageName  string `json:"package_name"`
	Version      string `json:"version"`
	Priority     int    `json:"priority"`
	// Instruction is the SHA-256 of the signed envelope's bytes, served at PathInstruction.
	Instruction string `json:"instruction"`
	// Begun says that the server has a report of the command's start. A device that holds no record of it,
	// because its disk was restored or cleaned, does not begin it again.
	Begun bool `json:"begun,omitempty"`
}

// InventoryTask asks for an inventory now. It is sent as every inventory is, at PathInventory.
type InventoryTask struct {
	// Sections that are wanted; empty for all.
	Sections []string `json:"sections,omitempty"`
}

func (i *InventoryTask) validate() error {
	if i == nil {
		return nil
	}
	if len(i.Sections) > MaxSections {
		return fault.Field("inventory.sections", "%d sections; at most %d can be asked for", len(i.Sections), MaxSections)
	}
	for _, name := range i.Sections {
		if !ValidSection(name) {
			return fault.Field("inventory.sections", "%.60q is not the name of a section", name)
		}
	}
	return nil
}

// MaxUninstall is how many programs one task may name.
const MaxUninstall = 100

// maxSoftwareKey is the longest key of a program, in bytes.
const maxSoftwareKey = 512

// UninstallTask asks to uninstall programs, one after another.
type UninstallTask struct {
	// Software lists keys of Software that this device has reported.
	Software []string `json:"software"`
	// StopAtFailure leaves the rest alone after the first that was not removed, though it was there.
	StopAtFailure bool `json:"stop_at_failure,omitempty"`
	// LimitSeconds is how long each may take; 0 is ten minutes.
	LimitSeconds int `json:"limit_seconds,omitempty"`
}

// Validate bounds what the task names. Every error is a fault of code invalid.
func (u *UninstallTask) Validate() error {
	if len(u.Software) == 0 || len(u.Software) > MaxUninstall {
		return fault.Field("uninstall.software", "%d programs are named; a task takes 1 to %d", len(u.Software), MaxUninstall)
	}
	for _, key := range u.Software {
		if key == "" || len(key) > maxSoftwareKey {
			return fault.Field("uninstall.software", "%.60q is not the key of a program", key)
		}
	}
	if u.LimitSeconds < 0 || u.LimitSeconds > 24*60*60 {
		return fault.Field("uninstall.limit_seconds", "%d seconds is not between 0 and a day", u.LimitSeconds)
	}
	return nil
}

// RemoveTask asks the agent to leave this server: to say goodbye with a final report and then, when this
// was its last server, to remove itself from the computer.
type RemoveTask struct{}

// Probation of an agent release, in seconds.
const (
	MinProbation     = 10
	MaxProbation     = 24 * 60 * 60
	DefaultProbation = 10 * 60
)

// maxVersion bounds the version of a release, in bytes.
const maxVersion = 64

// UpdateTask asks the agent to become another release of itself.
type UpdateTask struct {
	ReleaseID string `json:"release_id"`
	Version   string `json:"version"`
	// Release is the SHA-256 of the signed envelope's bytes, served at PathRelease.
	Release string `json:"release"`
	// ProbationSeconds is how long the new agent may take until it has checked in; else the old one comes
	// back. 0 is DefaultProbation.
	ProbationSeconds int `json:"probation_seconds,omitempty"`
}

// Validate checks the names before one becomes a path or a part of an address. Every error is a fault of code
// invalid.
func (u *UpdateTask) Validate() error {
	_, ok := canonical(u.ReleaseID)
	switch {
	case !ok:
		return fault.Field("update.release_id", "%.40q is not a UUID in lower case", u.ReleaseID)
	case !IsSHA256(u.Release):
		return fault.Field("update.release", "the release %.80q is not named by a SHA-256 digest", u.Release)
	case u.Version == "" || len(u.Version) > maxVersion:
		return fault.Field("update.version", "%.80q is not a version of at most %d bytes", u.Version, maxVersion)
	case u.ProbationSeconds != 0 && (u.ProbationSeconds < MinProbation || u.ProbationSeconds > MaxProbation):
		return fault.Field("update.probation_seconds", "%d is not between %d and %d seconds", u.ProbationSeconds, MinProbation, MaxProbation)
	}
	return nil
}

// UpdateOutcome says which agent runs after an update.
type UpdateOutcome string

// The outcomes.
const (
	UpdateInstalled  UpdateOutcome = "installed"   // the new one, and it has checked in
	UpdateNotNeeded  UpdateOutcome = "not_needed"  // the version ran already, or a higher one did
	UpdateKept       UpdateOutcome = "kept"        // the old one: the new one was never started
	UpdateRolledBack UpdateOutcome = "rolled_back" // the old one: the new one was tried, and did not prove itself
)

// UpdateResult is how an update ended.
type UpdateResult struct {
	From    string        `json:"from"` // version
	To      string        `json:"to"`   // version
	Outcome UpdateOutcome `json:"outcome"`
}

// maxParameters bounds the parameters of a module, in bytes.
const maxParameters = 64 << 10

// ModuleTask asks to run a module from outside now. What it finds is sent as a section of an inventory.
type ModuleTask struct {
	Name string `json:"name"`
	// Parameters is a JSON object that the module's schema allows; empty is {}.
	Parameters json.RawMessage `json:"parameters,omitempty"`
}

// Validate checks the name and bounds the parameters. Every error is a fault of code invalid.
func (m *ModuleTask) Validate() error {
	if !ValidModule(m.Name) {
		return fault.Field("module.name", "%.60q is not the name of a module", m.Name)
	}
	if len(m.Parameters) > maxParameters {
		return fault.Field("module.parameters", "%d bytes of parameters; at most %d are taken", len(m.Parameters), maxParameters)
	}
	return nil
}

// Bounds of a TaskReport.
const (
	MaxItems      = MaxUninstall
	MaxItemOutput = 4 << 10 // bytes
)

// TaskReport says how a task stands that is not a deployment: StateAccepted, StateStarted, StateWaiting
// or a final state. Without a state, or for a deployment, it says why the task was not begun.
type TaskReport struct {
	TaskID  string `json:"task_id"`
	Kind    string `json:"kind"`
	State   State  `json:"state,omitempty"`
	Reason  Reason `json:"reason"`
	Message string `json:"message,omitempty"`
	// Items say how each part of the task stands, in the order that they were asked for; with StateStarted
	// those that are done so far.
	Items []TaskItem `json:"items,omitempty"`
	// Update is set by the final report of an update.
	Update *UpdateResult `json:"update,omitempty"`
	// NextTry is when the device means to go on, with StateWaiting.
	NextTry *time.Time `json:"next_try,omitempty"`
}

// ItemStatus says how one part of a task ended.
type ItemStatus string

// Statuses of a program that was to be uninstalled.
const (
	ItemRemoved      ItemStatus = "removed"       // and gone by a fresh look at the system
	ItemNotInstalled ItemStatus = "not_installed" // was not there
	ItemFailed       ItemStatus = "failed"        // still there, or in part
	ItemNeeded       ItemStatus = "needed"        // others that depend on it, named in Others, would go too
	ItemProtected    ItemStatus = "protected"     // the agent itself, essential, or named by the device's configuration
	ItemSkipped      ItemStatus = "skipped"       // after a failure, as asked
	ItemUnsupported  ItemStatus = "unsupported"   // this agent cannot uninstall what comes from that source
)

// TaskItem is one part of a task.
type TaskItem struct {
	ID         string     `json:"id"` // the key of a program
	Status     ItemStatus `json:"status"`
	Message    string     `json:"message,omitempty"`
	Others     []string   `json:"others,omitempty"` // names; at most 50
	ExitCode   *int       `json:"exit_code,omitempty"`
	Output     string     `json:"output,omitempty"` // tail, valid UTF-8, at most MaxItemOutput bytes
	DurationMS int64      `json:"duration_ms,omitempty"`
}
