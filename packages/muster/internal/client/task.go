package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/muster/muster/packages/protocol"
)

// Task is one task of a device that is not a deployment. The timeline and the output of programs come with a
// single task only.
type Task struct {
	ID            string              `json:"id"`
	DeviceID      string              `json:"device_id"`
	Hostname      string              `json:"hostname"`
	Kind          string              `json:"kind"`
	BatchID       string              `json:"batch_id"`
	State         protocol.State      `json:"state"`
	Reason        protocol.Reason     `json:"reason"`
	Summary       string              `json:"summary"`
	Message       string              `json:"message,omitempty"`
	Sections      []string            `json:"sections,omitempty"`
	Software      []string            `json:"software,omitempty"`
	StopAtFailure bool                `json:"stop_at_failure,omitempty"`
	LimitSeconds  int                 `json:"limit_seconds,omitempty"`
	Module        string              `json:"module,omitempty"`
	Parameters    json.RawMessage     `json:"parameters,omitempty"`
	Update        *Update             `json:"update,omitempty"`
	Items         []protocol.TaskItem `json:"items,omitempty"`
	NextTry       *time.Time          `json:"next_try,omitempty"`
	CreatedBy     string              `json:"created_by"`
	CreatedAt     time.Time           `json:"created_at"`
	UpdatedAt     time.Time           `json:"updated_at"`
	FinishedAt    *time.Time          `json:"finished_at,omitempty"`
	Timeline      []TaskStep          `json:"timeline,omitempty"`
}

// Update is what an update of the agent asks for, and how it ended.
type Update struct {
	ReleaseID        string                 `json:"release_id"`
	Version          string                 `json:"version"`
	ProbationSeconds int                    `json:"probation_seconds"`
	Result           *protocol.UpdateResult `json:"result,omitempty"`
}

// TaskStep is one state a task went through.
type TaskStep struct {
	Seq     int             `json:"seq"`
	Time    time.Time       `json:"time"`
	Source  string          `json:"source"`
	State   protocol.State  `json:"state"`
	Reason  protocol.Reason `json:"reason,omitempty"`
	Message string          `json:"message"`
	NextAt  *time.Time      `json:"next_at,omitempty"`
}

// Tasks lists tasks; query may have device_id, batch_id, kind, state and open.
func (c *Client) Tasks(ctx context.Context, query url.Values, limit int) ([]Task, error) {
	return list[Task](ctx, c, "/tasks", query, limit)
}

// Task shows one task with its timeline.
func (c *Client) Task(ctx context.Context, id string) (Task, error) {
	return get[Task](ctx, c, "/tasks"+seg(id))
}

// CancelTask ends a task; what the device has begun of it is not stopped.
func (c *Client) CancelTask(ctx context.Context, id string) (Task, error) {
	return post[Task](ctx, c, "/tasks"+seg(id)+"/cancel", nil)
}

// NewUninstall names programs to uninstall from devices.
type NewUninstall struct {
	DeviceIDs     []string `json:"device_ids"`
	Software      []string `json:"software"`
	StopAtFailure bool     `json:"stop_at_failure,omitempty"`
	LimitSeconds  int      `json:"limit_seconds,omitempty"`
}

// Uninstall is the tasks that one request made, one per device.
type Uninstall struct {
	BatchID string `json:"batch_id"`
	Tasks   []Task `json:"tasks"`
}

// Uninstall asks to uninstall programs.
func (c *Client) Uninstall(ctx context.Context, in NewUninstall) (Uninstall, error) {
	return post[Uninstall](ctx, c, "/uninstalls", in)
}

// RemoveDevice asks a device's agent to leave.
func (c *Client) RemoveDevice(ctx context.Context, id string) (Task, error) {
	return post[Task](ctx, c, "/devices"+seg(id)+"/remove", nil)
}

// AskInventory asks a device for an inventory now, of all sections unless some are named.
func (c *Client) AskInventory(ctx context.Context, id string, sections ...string) (Task, error) {
	return post[Task](ctx, c, "/devices"+seg(id)+"/inventory", map[string][]string{"sections": append([]string{}, sections...)})
}

// RunModule asks a device to run a module from outside now; parameters are a JSON object, nil for the module's own.
func (c *Client) RunModule(ctx context.Context, id, module string, parameters json.RawMessage) (Task, error) {
	return post[Task](ctx, c, "/devices"+seg(id)+"/modules"+seg(module)+"/run", struct {
		Parameters json.RawMessage `json:"parameters,omitempty"`
	}{parameters})
}

// Section is one section of a device's inventory. Rows are there when one section is asked for.
type Section struct {
	Name        string            `json:"name"`
	RowCount    int               `json:"rows"`
	CollectedAt *time.Time        `json:"collected_at,omitempty"`
	ReceivedAt  *time.Time        `json:"received_at,omitempty"`
	NamedAt     *time.Time        `json:"named_at,omitempty"`
	Problem     string            `json:"problem,omitempty"`
	Columns     []protocol.Column `json:"columns,omitempty"` // of a module's section
	Items       []json.RawMessage `json:"items,omitempty"`
}

// Inventory is what is known of a device's hardware and system.
type Inventory struct {
	DeviceID    string           `json:"device_id"`
	CollectedAt *time.Time       `json:"collected_at,omitempty"`
	Sections    []Section        `json:"sections"`
	System      *protocol.System `json:"system,omitempty"`
	BIOS        *protocol.BIOS   `json:"bios,omitempty"`
}

// Inventory shows which sections a device's inventory has.
func (c *Client) Inventory(ctx context.Context, id string) (Inventory, error) {
	return get[Inventory](ctx, c, "/devices"+seg(id)+"/inventory")
}

// InventorySection lists the rows of a section; query may have q.
func (c *Client) InventorySection(ctx context.Context, id, section string, query url.Values, limit int) (Section, error) {
	path := "/devices" + seg(id) + "/inventory" + seg(section)
	var head Section
	if err := c.call(ctx, http.MethodGet, path, url.Values{"limit": {"1"}}, nil, &head); err != nil {
		return Section{}, err
	}
	var err error
	head.Items, err = list[json.RawMessage](ctx, c, path, query, limit)
	return head, err
}

// Software is one program on one device.
type Software struct {
	SoftwareID  string     `json:"software_id"`
	Key         string     `json:"key"`
	Name        string     `json:"name"`
	Version     string     `json:"version"`
	Source      string     `json:"source"`
	Publisher   string     `json:"publisher"`
	Summary     string     `json:"summary"`
	Arch        string     `json:"arch"`
	SizeBytes   int64      `json:"size_bytes"`
	InstalledAt *time.Time `json:"installed_at,omitempty"`
	Essential   bool       `json:"essential"`
	Condition   string     `json:"condition"`
	FirstSeenAt *time.Time `json:"first_seen_at,omitempty"`
}

// DeviceSoftware lists what a device has installed, by name; query may have q and source.
func (c *Client) DeviceSoftware(ctx context.Context, id string, query url.Values, limit int) ([]Software, error) {
	return list[Software](ctx, c, "/devices"+seg(id)+"/software", query, limit)
}
