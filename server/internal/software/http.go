package software

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/server/internal/api"
)

// API is the feature's part of the admin API.
type API struct{ Service *Service }

// SoftwareTitle is a program of one source as the admin API shows it.
type SoftwareTitle struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Source      string    `json:"source" doc:"where it comes from, as dpkg, rpm or snap"`
	Publisher   string    `json:"publisher"`
	Summary     string    `json:"summary"`
	PURL        string    `json:"purl" doc:"package URL without version; the name where the source has none"`
	Devices     int       `json:"devices" doc:"that have it"`
	FirstSeenAt time.Time `json:"first_seen_at"`
}

// SoftwareVersion is one version of a title.
type SoftwareVersion struct {
	Version     string    `json:"version"`
	Devices     int       `json:"devices" doc:"that have it"`
	FirstSeenAt time.Time `json:"first_seen_at"`
}

// SoftwareDetail is a title with its versions.
type SoftwareDetail struct {
	SoftwareTitle
	Versions []SoftwareVersion `json:"versions" doc:"those of most devices first; 500 at most"`
}

// InstalledSoftware is a program on a device.
type InstalledSoftware struct {
	DeviceID    string     `json:"device_id"`
	Hostname    string     `json:"hostname"`
	State       string     `json:"state" enum:"pending,active,quarantined,revoked,removed" doc:"of the device"`
	SoftwareID  string     `json:"software_id"`
	Key         string     `json:"key" doc:"the program's unique id on the device, as uninstalling takes it"`
	Name        string     `json:"name"`
	Version     string     `json:"version"`
	Source      string     `json:"source"`
	Publisher   string     `json:"publisher"`
	Summary     string     `json:"summary"`
	Arch        string     `json:"arch"`
	SizeBytes   int64      `json:"size_bytes" doc:"0 when it is not known"`
	InstalledAt *time.Time `json:"installed_at,omitempty"`
	Essential   bool       `json:"essential" doc:"the system would not work without it"`
	Condition   string     `json:"condition" doc:"empty for what is installed as it should be"`
	FirstSeenAt time.Time  `json:"first_seen_at"`
}

// SoftwareChange is one thing that changed on a device.
type SoftwareChange struct {
	ID         string    `json:"id"`
	Time       time.Time `json:"time" doc:"when the server heard of it"`
	DeviceID   string    `json:"device_id"`
	Hostname   string    `json:"hostname"`
	SoftwareID string    `json:"software_id"`
	Name       string    `json:"name"`
	Change     string    `json:"change" enum:"added,removed,updated"`
	From       string    `json:"from,omitempty" doc:"version"`
	To         string    `json:"to,omitempty" doc:"version"`
	Arch       string    `json:"arch"`
}

func titleView(t Title) SoftwareTitle {
	return SoftwareTitle{
		ID: strconv.FormatInt(t.ID, 10), Name: t.Name, Source: t.Source, Publisher: t.Publisher, Summary: t.Summary, PURL: t.PURL,
		Devices: t.Devices, FirstSeenAt: t.FirstSeenAt,
	}
}

func installedView(i Installed) InstalledSoftware {
	return InstalledSoftware{
		DeviceID: i.DeviceID, Hostname: i.Hostname, State: i.State, SoftwareID: strconv.FormatInt(i.TitleID, 10), Key: i.SoftwareKey,
		Name: i.Name, Version: i.Version, Source: i.Source, Publisher: i.Publisher, Summary: i.Summary, Arch: i.Arch,
		SizeBytes: i.SizeBytes, InstalledAt: i.InstalledAt, Essential: i.Essential, Condition: i.Defect, FirstSeenAt: i.FirstSeenAt,
	}
}

func changeView(c Change) SoftwareChange {
	return SoftwareChange{
		ID: c.ID, Time: c.Time, DeviceID: c.DeviceID, Hostname: c.Hostname, SoftwareID: strconv.FormatInt(c.TitleID, 10),
		Name: c.Name, Change: c.Kind, From: c.From, To: c.To, Arch: c.Arch,
	}
}

func views[T, V any](list []T, view func(T) V) []V {
	out := make([]V, len(list))
	for i, t := range list {
		out[i] = view(t)
	}
	return out
}

type (
	listInput struct {
		api.PageParams
		Query  string `query:"q" maxLength:"200" doc:"part of name, publisher or package URL"`
		Source string `query:"source" maxLength:"40"`
		Sort   string `query:"sort" enum:"name,devices" default:"name" doc:"by name, or most devices first"`
		Unused string `query:"unused" enum:"true,false" default:"false" doc:"also what no device has any more"`
	}
	listOutput struct{ Body api.Page[SoftwareTitle] }
	getInput   struct {
		ID string `path:"id" maxLength:"64"`
	}
	getOutput    struct{ Body SoftwareDetail }
	devicesInput struct {
		ID string `path:"id" maxLength:"64"`
		api.PageParams
		Query   string `query:"q" maxLength:"200" doc:"part of the host name"`
		Version string `query:"version" maxLength:"255"`
	}
	deviceInput struct {
		ID string `path:"id" maxLength:"64"`
		api.PageParams
		Query  string `query:"q" maxLength:"200" doc:"part of name, version, publisher, summary or key"`
		Source string `query:"source" maxLength:"40"`
	}
	installedOutput struct{ Body api.Page[InstalledSoftware] }
	historyInput    struct {
		ID string `path:"id" maxLength:"64"`
		api.PageParams
	}
	historyOutput struct{ Body api.Page[SoftwareChange] }
)

// Register adds the operations.
func (a *API) Register(h huma.API) {
	op := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"software"}, Summary: summary}
	}
	api.Register(h, op("list-software", "/software", "List the software of all devices"), a.list)
	api.Register(h, op("get-software", "/software/{id}", "Show a program and its versions"), a.get)
	api.Register(h, op("list-software-devices", "/software/{id}/devices", "List the devices that have a program, by host name"), a.devices)
	api.Register(h, op("list-software-history", "/software/{id}/history", "List on which devices a program came and went, newest first"), a.history)
	api.Register(h, op("list-device-software", "/devices/{id}/software", "List the software of a device, by name"), a.ofDevice)
	api.Register(h, op("list-device-software-history", "/devices/{id}/software/history", "List what software came and went on a device, newest first"), a.deviceHistory)
}

func (a *API) list(ctx context.Context, in *listInput) (*listOutput, error) {
	after, err := api.DecodeCursor(in.Cursor, 3)
	if err != nil {
		return nil, err
	}
	titles, err := a.Service.List(ctx, Filter{
		Query: in.Query, Source: in.Source, ByDevices: in.Sort == "devices", Unused: in.Unused == "true", After: after, Limit: in.Fetch(),
	})
	if err != nil {
		return nil, err
	}
	page := api.NewPage(views(titles, titleView), in.PageParams, func(t SoftwareTitle) []string {
		return []string{strconv.Itoa(t.Devices), t.Name, t.ID}
	})
	return &listOutput{page}, nil
}

func (a *API) get(ctx context.Context, in *getInput) (*getOutput, error) {
	title, versions, err := a.Service.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &getOutput{SoftwareDetail{titleView(title), views(versions, func(v Version) SoftwareVersion { return SoftwareVersion(v) })}}, nil
}

func (a *API) devices(ctx context.Context, in *devicesInput) (*installedOutput, error) {
	after, err := api.DecodeCursor(in.Cursor, 3)
	if err != nil {
		return nil, err
	}
	f := DevicesFilter{Query: in.Query, After: after, Limit: in.Fetch()}
	if in.Version != "" {
		f.Version = &in.Version
	}
	found, err := a.Service.Devices(ctx, in.ID, f)
	if err != nil {
		return nil, err
	}
	page := api.NewPage(views(found, installedView), in.PageParams, func(i InstalledSoftware) []string { return []string{i.Hostname, i.DeviceID, i.Key} })
	return &installedOutput{page}, nil
}

func (a *API) ofDevice(ctx context.Context, in *deviceInput) (*installedOutput, error) {
	after, err := api.DecodeCursor(in.Cursor, 2)
	if err != nil {
		return nil, err
	}
	found, err := a.Service.OfDevice(ctx, in.ID, DeviceFilter{Query: in.Query, Source: in.Source, After: after, Limit: in.Fetch()})
	if err != nil {
		return nil, err
	}
	page := api.NewPage(views(found, installedView), in.PageParams, func(i InstalledSoftware) []string { return []string{i.Name, i.Key} })
	return &installedOutput{page}, nil
}

func (a *API) history(ctx context.Context, in *historyInput) (*historyOutput, error) {
	return a.changes(in, func(before string) ([]Change, error) { return a.Service.History(ctx, in.ID, before, in.Fetch()) })
}

func (a *API) deviceHistory(ctx context.Context, in *historyInput) (*historyOutput, error) {
	return a.changes(in, func(before string) ([]Change, error) { return a.Service.DeviceHistory(ctx, in.ID, before, in.Fetch()) })
}

func (a *API) changes(in *historyInput, read func(before string) ([]Change, error)) (*historyOutput, error) {
	after, err := api.DecodeCursor(in.Cursor, 1)
	if err != nil {
		return nil, err
	}
	before := ""
	if after != nil {
		before = after[0]
	}
	found, err := read(before)
	if err != nil {
		return nil, err
	}
	return &historyOutput{api.NewPage(views(found, changeView), in.PageParams, func(c SoftwareChange) []string { return []string{c.ID} })}, nil
}
