package protocol_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	reportID     = "01931b6e-9a00-7000-8000-000000000001"
	deploymentID = "01931b6e-9a00-7000-8000-000000000002"
	attemptID    = "01931b6e-9a00-7000-8000-000000000003"
	deviceID     = "01931b6e-9a00-7000-8000-000000000004"
)

var (
	at     = time.Date(2026, 11, 21, 8, 30, 0, 0, time.UTC)
	digest = strings.Repeat("ab", 32)
	secret = strings.Repeat("0f", 32)

	software = "pkg:deb/debian/curl@7.88.1-10?arch=amd64"
)

func facts() protocol.Facts {
	return protocol.Facts{
		Hostname: "pc-7", OS: "linux", OSName: "Debian GNU/Linux", OSVersion: "12", Kernel: "6.1.0", Arch: "amd64",
		CPU: "EPYC", Cores: 2, MemoryBytes: 24 << 30, MachineID: "0123", Timezone: "UTC", IPs: []string{"192.0.2.7"},
		MACs: []string{"02:00:00:00:00:07"}, AgentVersion: "1.0.0", BootID: "b", BootedAt: at, Privileged: true,
		ChangedAt: at, TasksAllowed: []string{protocol.TaskDeploy},
	}
}

func deploymentReport() protocol.Report {
	seven := 7
	return protocol.Report{ID: reportID, Kind: protocol.ReportDeployment, Time: at, Deployment: &protocol.DeploymentReport{
		DeploymentID: deploymentID, AttemptID: attemptID, State: protocol.StateFailed, Reason: protocol.ReasonExitCode,
		Message: "exit code 7", ExitCode: &seven, Output: "no such printer\n", OutputBytes: 16, DurationMS: 1200,
	}}
}

// The golden files are the contract with agents in the field: a change here is a change of protocol.
func TestMessages_keepTheirShape(t *testing.T) {
	t.Parallel()
	f := facts()
	messages := map[string]any{
		"enroll_request": protocol.EnrollRequest{Protocol: 1, Token: "menr_1", Nonce: digest, SecretSHA256: digest, Facts: f},
		"enroll_response": protocol.EnrollResponse{DeviceID: deviceID, State: protocol.DeviceActive, ServerTime: at,
			Trust: []json.RawMessage{json.RawMessage(`{"payload":""}`)}},
		"check_in_request": protocol.CheckInRequest{Protocol: 1, AgentVersion: "1.0.0", InstanceID: attemptID, BootID: "b",
			MachineID: "0123", Time: at, TrustVersion: 1, Connected: true, Attempts: []string{attemptID}, Facts: &f},
		"check_in_response": protocol.CheckInResponse{ServerTime: at, State: protocol.DeviceActive, NextSeconds: 60,
			Tasks: []protocol.Task{{ID: attemptID, Kind: protocol.TaskDeploy, Deploy: &protocol.DeployTask{
				DeploymentID: deploymentID, AttemptID: attemptID, Attempt: 1, PackageID: deviceID, PackageName: "hello",
				Version: "2.10", Priority: 5, Instruction: digest}}}},
		"reports_request": protocol.ReportsRequest{Reports: []protocol.Report{deploymentReport()}},
		"ack":             protocol.Ack{IDs: []string{reportID}, Refused: []protocol.RefusedItem{{ID: attemptID, Code: "invalid", Message: "why"}}},
		"check_in_tasks": protocol.CheckInResponse{ServerTime: at, State: protocol.DeviceActive, Tasks: []protocol.Task{
			{ID: attemptID, Kind: protocol.TaskInventory, Inventory: &protocol.InventoryTask{Sections: []string{protocol.SectionSoftware}}},
			{ID: reportID, Kind: protocol.TaskUninstall, Uninstall: &protocol.UninstallTask{Software: []string{software}, StopAtFailure: true, LimitSeconds: 60}},
			{ID: deviceID, Kind: protocol.TaskRemove, Remove: &protocol.RemoveTask{}},
		}},
		"task_report": protocol.Report{ID: reportID, Kind: protocol.ReportTask, Time: at, Task: &protocol.TaskReport{
			TaskID: attemptID, Kind: protocol.TaskUninstall, State: protocol.StateFailed, Reason: protocol.ReasonItems, Message: "1 of 1 not removed",
			Items: []protocol.TaskItem{{ID: software, Status: protocol.ItemNeeded, Others: []string{"git"}, Message: "git needs it"}}}},
		"update_task": protocol.Task{ID: reportID, Kind: protocol.TaskUpdate, Update: &protocol.UpdateTask{
			ReleaseID: attemptID, Version: "1.1.0", Release: digest, ProbationSeconds: 300}},
		"update_report": protocol.Report{ID: reportID, Kind: protocol.ReportTask, Time: at, Task: &protocol.TaskReport{
			TaskID: attemptID, Kind: protocol.TaskUpdate, State: protocol.StateFailed, Reason: protocol.ReasonCrashed, Message: "ended with exit code 2, three times",
			Update: &protocol.UpdateResult{From: "1.0.0", To: "1.1.0", Outcome: protocol.UpdateRolledBack}}},
		"module_task": protocol.Task{ID: reportID, Kind: protocol.TaskModule, Module: &protocol.ModuleTask{Name: "disk-health", Parameters: []byte(`{"deep":true}`)}},
		"module_head": protocol.InventoryHead{Protocol: 1, CollectedAt: at, DurationMS: 40, Sections: []protocol.SectionHead{
			{Name: protocol.ModuleSection("disk-health"), SHA256: digest, Rows: 2, Bytes: 300, Columns: []protocol.Column{
				{Name: "celsius", Title: "Temperature", Type: protocol.ColumnInteger}}}}},
		"log_report": protocol.Report{ID: reportID, Kind: protocol.ReportLog, Time: at, Log: &protocol.LogReport{Dropped: 3, Lines: []protocol.LogLine{
			{Time: at, Task: "deploy", Level: "warn", Message: "stalled bytes=12"}}}},
		"check_in_log": protocol.CheckInResponse{ServerTime: at, State: protocol.DeviceActive, Tasks: []protocol.Task{},
			Log: &protocol.LogSetting{Level: "debug", Until: &at, After: "warn", Follow: &at}},
		"inventory_head": protocol.InventoryHead{Protocol: 1, CollectedAt: at, DurationMS: 40, Sections: []protocol.SectionHead{
			{Name: protocol.SectionSoftware, SHA256: digest, Rows: 2, Bytes: 300},
			{Name: protocol.SectionMonitors, Problem: "no answer in 5s"}}},
		"inventory_answer": protocol.InventoryAnswer{Want: []string{protocol.SectionSoftware}},
		"software": protocol.Software{Row: protocol.Row{Key: software, Name: "curl"}, Version: "7.88.1-10", Publisher: "Debian", Arch: "amd64",
			Source: "dpkg", SizeBytes: 1 << 20, InstalledAt: &at},
		"socket_progress": protocol.SocketMessage{Type: protocol.SocketProgress, Progress: &protocol.Progress{
			DeploymentID: deploymentID, AttemptID: attemptID, Done: 1, Total: 2}},
		"problem": protocol.Problem{Title: "Conflict", Status: 409, Detail: "the package is not active", Code: "conflict"},
	}
	for name, message := range messages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := json.MarshalIndent(message, "", "  ")
			require.NoError(t, err)
			got = append(got, '\n')
			file := filepath.Join("testdata", name+".json")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(file, got, 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
		})
	}
}

func TestDecode_boundsAndExplains(t *testing.T) {
	t.Parallel()
	var ok protocol.CheckInRequest
	require.NoError(t, protocol.Decode(strings.NewReader(`{"protocol":1,"of_a_later_version":{}}`), 100, &ok))
	require.Equal(t, 1, ok.Protocol)

	for name, c := range map[string]struct {
		in   string
		code fault.Code
		says string
	}{
		"over the limit": {`{"agent_version":"` + strings.Repeat("x", 200) + `"}`, fault.TooLarge, "100 bytes"},
		"not JSON":       {`{"protocol":`, fault.Invalid, "not valid JSON"},
		"two values":     {`{} {}`, fault.Invalid, "not valid JSON"},
		"wrong type":     {`{"protocol":"one"}`, fault.Invalid, "protocol must be a int"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := protocol.Decode(strings.NewReader(c.in), 100, new(protocol.CheckInRequest))
			require.Equal(t, c.code, fault.CodeOf(err))
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestReport_validate(t *testing.T) {
	t.Parallel()
	good := deploymentReport()
	require.NoError(t, good.Validate())
	for name, spoil := range map[string]func(*protocol.Report){
		"id is no UUIDv7":   func(r *protocol.Report) { r.ID = "1f0c0a3e-0000-4000-8000-000000000001" },
		"kind without body": func(r *protocol.Report) { r.Kind = protocol.ReportFacts },
		"unknown kind":      func(r *protocol.Report) { r.Kind = "shell" },
		"a task's state of the server": func(r *protocol.Report) {
			r.Kind, r.Deployment, r.Task = protocol.ReportTask, nil, &protocol.TaskReport{State: protocol.StateAssigned}
		},
		"a log line of no level": func(r *protocol.Report) {
			r.Kind, r.Deployment, r.Log = protocol.ReportLog, nil, &protocol.LogReport{Lines: []protocol.LogLine{{Task: "core", Level: "LOUD"}}}
		},
		"too many log lines": func(r *protocol.Report) {
			r.Kind, r.Deployment, r.Log = protocol.ReportLog, nil, &protocol.LogReport{Lines: make([]protocol.LogLine, protocol.MaxLogLines+1)}
		},
		"too many items": func(r *protocol.Report) {
			r.Kind, r.Deployment = protocol.ReportTask, nil
			r.Task = &protocol.TaskReport{Items: make([]protocol.TaskItem, protocol.MaxItems+1)}
		},
		"a state of the server":   func(r *protocol.Report) { r.Deployment.State = protocol.StateCancelled },
		"unknown state":           func(r *protocol.Report) { r.Deployment.State = "great" },
		"deployment is not an id": func(r *protocol.Report) { r.Deployment.DeploymentID = "../../etc" },
		"attempt is not an id":    func(r *protocol.Report) { r.Deployment.AttemptID = "" },
		"id in capitals":          func(r *protocol.Report) { r.ID = strings.ToUpper("01931b6e-9a00-7000-8000-00000000000a") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := deploymentReport()
			spoil(&r)
			require.Contains(t, []fault.Code{fault.Invalid, fault.Unsupported}, fault.CodeOf(r.Validate()))
		})
	}
}

func TestLists_endAtTheirLimit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]fault.Code{
		`{"tasks":[` + strings.Repeat("{},", protocol.MaxTasks) + `{}]}`:    fault.TooLarge,
		`{"trust":[` + strings.Repeat("1,", protocol.MaxDocuments) + `1]}`:  fault.TooLarge,
		`{"tasks":[` + strings.Repeat("{},", protocol.MaxTasks-1) + `{}]}`:  "",
		`{"tasks":null,"trust":null}`:                                       "",
		`{"tasks":{}}`:                                                      fault.Invalid,
		`{"tasks":[1]}`:                                                     fault.Invalid,
		`{"trust":"x"}`:                                                     fault.Invalid,
		`{"tasks":[{"kind":1}]}`:                                            fault.Invalid,
		`{"tasks":[{}]`:                                                     fault.Invalid,
		`{"tasks":[],"trust":[{"payload":"e30="},{"payload":"e30="},null]}`: "",
	} {
		var resp protocol.CheckInResponse
		require.Equal(t, want, fault.CodeOf(protocol.Unmarshal([]byte(text), &resp)), "%.60s", text)
	}
}

func TestDeployTask_validate(t *testing.T) {
	t.Parallel()
	good := protocol.DeployTask{
		DeploymentID: deviceID, AttemptID: deviceID, PackageID: deviceID, PackageName: strings.Repeat("ü", 120), Version: "1", Instruction: digest,
	}
	require.NoError(t, good.Validate())
	for field, change := range map[string]func(d *protocol.DeployTask){
		"deploy.deployment_id": func(d *protocol.DeployTask) { d.DeploymentID = "" },
		"deploy.attempt_id":    func(d *protocol.DeployTask) { d.AttemptID = "../../../../etc" },
		"deploy.package_id":    func(d *protocol.DeployTask) { d.PackageID = strings.ToUpper(deviceID) },
		"deploy.instruction":   func(d *protocol.DeployTask) { d.Instruction = "../secret" },
		"deploy.package_name":  func(d *protocol.DeployTask) { d.Version = strings.Repeat("1", 1<<20) },
	} {
		bad := good
		change(&bad)
		err := bad.Validate()
		var f *fault.Error
		require.ErrorAs(t, err, &f)
		require.Equal(t, fault.Invalid, f.Code)
		require.Equal(t, field, f.Field)
		require.Less(t, len(err.Error()), 200)
	}
}

func TestReport_validateLosesNoResultForItsLength(t *testing.T) {
	t.Parallel()
	r := deploymentReport()
	r.Deployment.Output = strings.Repeat("x", 2*protocol.MaxOutputTail)
	require.NoError(t, r.Validate())
}

func TestState_ranksGrowAlongAnAttempt(t *testing.T) {
	t.Parallel()
	way := []protocol.State{protocol.StateAssigned, protocol.StateAccepted, protocol.StateFetching, protocol.StateFetched,
		protocol.StateUnpacked, protocol.StateStarted, protocol.StateSucceeded}
	for i := 1; i < len(way); i++ {
		require.Greater(t, way[i].Rank(), way[i-1].Rank(), way[i])
	}
	require.True(t, protocol.StateSucceeded.Final())
	require.False(t, protocol.StateStarted.Final())
	require.False(t, protocol.StateUnassigned.FromDevice())
	require.True(t, protocol.StateWaiting.FromDevice())
	require.False(t, protocol.State("great").FromDevice())
}

func TestCredential_roundTrip(t *testing.T) {
	t.Parallel()
	id, got, ok := protocol.ParseCredential(protocol.Credential(deviceID, secret))
	require.True(t, ok)
	require.Equal(t, deviceID, id)
	require.Equal(t, secret, got)
	for _, bad := range []string{"", "mdev_", "mdev__", "mdev_" + deviceID, "mapi_" + secret, protocol.Credential(deviceID, strings.ToUpper(secret)), protocol.Credential(deviceID, secret+"0")} {
		_, _, ok := protocol.ParseCredential(bad)
		require.False(t, ok, bad)
	}
}

func TestEnrollment_roundTrip(t *testing.T) {
	t.Parallel()
	e := protocol.Enrollment{URLs: []string{"https://muster.example:8443"}, Token: "menr_1", CA: digest, Root: digest}
	got, err := protocol.ParseEnrollment("  " + e.String() + "\n")
	require.NoError(t, err)
	require.Equal(t, e, got)

	for name, bad := range map[string]string{
		"empty": "", "another word": "hello", "damaged": e.String()[:20] + "!",
		"cut":          e.String()[:len(e.String())-9],
		"plain http":   protocol.Enrollment{URLs: []string{"http://x"}, Token: "t", CA: digest, Root: digest}.String(),
		"no token":     protocol.Enrollment{URLs: e.URLs, CA: digest, Root: digest}.String(),
		"not a digest": protocol.Enrollment{URLs: e.URLs, Token: "t", CA: "x", Root: digest}.String(),
	} {
		_, err := protocol.ParseEnrollment(bad)
		require.Equal(t, fault.Invalid, fault.CodeOf(err), name)
	}
}

func FuzzDecodeReports(f *testing.F) {
	seed, err := json.Marshal(protocol.ReportsRequest{Reports: []protocol.Report{deploymentReport()}})
	require.NoError(f, err)
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		var in protocol.ReportsRequest
		if protocol.Decode(bytes.NewReader(b), protocol.MaxReportsBytes, &in) != nil {
			return
		}
		for i := range in.Reports {
			if in.Reports[i].Validate() != nil {
				continue
			}
			again, err := json.Marshal(in.Reports[i])
			require.NoError(t, err)
			var back protocol.Report
			require.NoError(t, protocol.Unmarshal(again, &back))
			require.NoError(t, back.Validate())
		}
	})
}

func FuzzParseEnrollment(f *testing.F) {
	f.Add(protocol.Enrollment{URLs: []string{"https://x"}, Token: "t", CA: digest, Root: digest}.String())
	f.Fuzz(func(t *testing.T, s string) {
		e, err := protocol.ParseEnrollment(s)
		if err != nil {
			return
		}
		again, err := protocol.ParseEnrollment(e.String())
		require.NoError(t, err)
		require.Equal(t, e, again)
	})
}

func FuzzParseCredential(f *testing.F) {
	f.Add(protocol.Credential(deviceID, secret))
	f.Fuzz(func(t *testing.T, s string) {
		if id, sec, ok := protocol.ParseCredential(s); ok {
			require.Equal(t, s, protocol.Credential(id, sec))
		}
	})
}

func TestInventoryHead_validate(t *testing.T) {
	t.Parallel()
	good := func() protocol.InventoryHead {
		return protocol.InventoryHead{Sections: []protocol.SectionHead{{Name: "cpus", SHA256: digest, Rows: 1, Bytes: 9}, {Name: "x", Problem: "none"}}}
	}
	head := good()
	require.NoError(t, head.Validate())
	for name, spoil := range map[string]func(h *protocol.InventoryHead){
		"twice":       func(h *protocol.InventoryHead) { h.Sections[1].Name = "cpus" },
		"a path":      func(h *protocol.InventoryHead) { h.Sections[0].Name = "../x" },
		"no digest":   func(h *protocol.InventoryHead) { h.Sections[0].SHA256 = "" },
		"bad digest":  func(h *protocol.InventoryHead) { h.Sections[0].SHA256 = "abc" },
		"many rows":   func(h *protocol.InventoryHead) { h.Sections[0].Rows = protocol.MaxSectionRows + 1 },
		"large":       func(h *protocol.InventoryHead) { h.Sections[0].Bytes = protocol.MaxSectionBytes + 1 },
		"many":        func(h *protocol.InventoryHead) { h.Sections = make([]protocol.SectionHead, protocol.MaxSections+1) },
		"minus a row": func(h *protocol.InventoryHead) { h.Sections[0].Rows = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := good()
			spoil(&h)
			require.Error(t, h.Validate())
		})
	}
}

func TestUninstallTask_validate(t *testing.T) {
	t.Parallel()
	require.NoError(t, (&protocol.UninstallTask{Software: []string{software}}).Validate())
	for _, bad := range []protocol.UninstallTask{
		{}, {Software: []string{""}}, {Software: make([]string, protocol.MaxUninstall+1)},
		{Software: []string{strings.Repeat("x", 513)}}, {Software: []string{software}, LimitSeconds: -1},
	} {
		require.True(t, fault.Is(bad.Validate(), fault.Invalid))
	}
}

func TestTask_validate(t *testing.T) {
	t.Parallel()
	deploy := &protocol.DeployTask{DeploymentID: deploymentID, AttemptID: attemptID, PackageID: deviceID, Instruction: digest}
	uninstall := &protocol.UninstallTask{Software: []string{software}}
	for name, c := range map[string]struct {
		task protocol.Task
		good bool
	}{
		"deploy":               {protocol.Task{ID: "any", Kind: protocol.TaskDeploy, Deploy: deploy}, true},
		"inventory":            {protocol.Task{ID: reportID, Kind: protocol.TaskInventory}, true},
		"sections":             {protocol.Task{ID: reportID, Kind: protocol.TaskInventory, Inventory: &protocol.InventoryTask{Sections: []string{"cpus"}}}, true},
		"uninstall":            {protocol.Task{ID: reportID, Kind: protocol.TaskUninstall, Uninstall: uninstall}, true},
		"remove":               {protocol.Task{ID: reportID, Kind: protocol.TaskRemove, Remove: &protocol.RemoveTask{}}, true},
		"remove without":       {protocol.Task{ID: reportID, Kind: protocol.TaskRemove}, false},
		"uninstall without":    {protocol.Task{ID: reportID, Kind: protocol.TaskUninstall}, false},
		"deploy without":       {protocol.Task{ID: reportID, Kind: protocol.TaskDeploy}, false},
		"another body":         {protocol.Task{ID: reportID, Kind: protocol.TaskRemove, Deploy: deploy}, false},
		"one body too many":    {protocol.Task{ID: reportID, Kind: protocol.TaskUninstall, Uninstall: uninstall, Remove: &protocol.RemoveTask{}}, false},
		"id is a path":         {protocol.Task{ID: "../../etc", Kind: protocol.TaskRemove, Remove: &protocol.RemoveTask{}}, false},
		"id in capitals":       {protocol.Task{ID: strings.ToUpper(reportID), Kind: protocol.TaskInventory}, false},
		"attempt is a path":    {protocol.Task{ID: reportID, Kind: protocol.TaskDeploy, Deploy: &protocol.DeployTask{AttemptID: ".."}}, false},
		"section is a path":    {protocol.Task{ID: reportID, Kind: protocol.TaskInventory, Inventory: &protocol.InventoryTask{Sections: []string{"../cpus"}}}, false},
		"software of no form":  {protocol.Task{ID: reportID, Kind: protocol.TaskUninstall, Uninstall: &protocol.UninstallTask{}}, false},
		"update":               {protocol.Task{ID: reportID, Kind: protocol.TaskUpdate, Update: &protocol.UpdateTask{ReleaseID: attemptID, Version: "1.1.0", Release: digest}}, true},
		"update, no digest":    {protocol.Task{ID: reportID, Kind: protocol.TaskUpdate, Update: &protocol.UpdateTask{ReleaseID: attemptID, Version: "1.1.0", Release: "../x"}}, false},
		"update, no version":   {protocol.Task{ID: reportID, Kind: protocol.TaskUpdate, Update: &protocol.UpdateTask{ReleaseID: attemptID, Release: digest}}, false},
		"update, no time":      {protocol.Task{ID: reportID, Kind: protocol.TaskUpdate, Update: &protocol.UpdateTask{ReleaseID: attemptID, Version: "1", Release: digest, ProbationSeconds: 1}}, false},
		"module":               {protocol.Task{ID: reportID, Kind: protocol.TaskModule, Module: &protocol.ModuleTask{Name: "smart"}}, true},
		"module is a path":     {protocol.Task{ID: reportID, Kind: protocol.TaskModule, Module: &protocol.ModuleTask{Name: "../smart"}}, false},
		"module, much":         {protocol.Task{ID: reportID, Kind: protocol.TaskModule, Module: &protocol.ModuleTask{Name: "smart", Parameters: make([]byte, 65<<10)}}, false},
		"a log is no task":     {protocol.Task{ID: reportID, Kind: protocol.TaskLog}, false},
		"unknown, with a body": {protocol.Task{ID: reportID, Kind: "brew", Uninstall: uninstall}, false},
	} {
		err := c.task.Validate()
		if c.good {
			require.NoError(t, err, name)
			continue
		}
		require.Equal(t, fault.Invalid, fault.CodeOf(err), name)
	}
	require.Equal(t, attemptID, (&protocol.Task{ID: reportID, Kind: protocol.TaskDeploy, Deploy: deploy}).Work())
	require.Equal(t, reportID, (&protocol.Task{ID: reportID, Kind: protocol.TaskUninstall, Uninstall: uninstall}).Work())
}

func TestColumns(t *testing.T) {
	t.Parallel()
	good := protocol.Column{Name: "size_2", Title: "Size", Type: protocol.ColumnBytes}
	require.NoError(t, protocol.ValidateColumns([]protocol.Column{good}))
	for _, bad := range [][]protocol.Column{
		{good, good}, {{Name: "key", Type: protocol.ColumnText}}, {{Name: "Size", Type: protocol.ColumnText}}, {{Name: "a-b", Type: protocol.ColumnText}},
		{{Name: "size", Type: "html"}}, {{Name: "size", Type: protocol.ColumnText, Title: strings.Repeat("x", 81)}}, make([]protocol.Column, protocol.MaxColumns+1),
	} {
		require.True(t, fault.Is(protocol.ValidateColumns(bad), fault.Invalid), "%+v", bad)
		h := protocol.InventoryHead{Sections: []protocol.SectionHead{{Name: protocol.ModuleSection("smart"), SHA256: digest, Columns: bad}}}
		require.Error(t, h.Validate())
	}
	module, ok := protocol.SectionModule(protocol.ModuleSection("smart"))
	require.True(t, ok)
	require.Equal(t, "smart", module)
	for _, section := range []string{"smart", "module-", protocol.ModuleSection("Smart"), protocol.ModuleSection(strings.Repeat("x", 33))} {
		_, ok := protocol.SectionModule(section)
		require.False(t, ok, section)
	}
}

func TestLogSetting(t *testing.T) {
	t.Parallel()
	later := at.Add(time.Hour)
	s := protocol.LogSetting{Level: "debug", Until: &later, After: protocol.LogOff}
	require.NoError(t, s.Validate())
	require.Equal(t, "debug", s.At(at))
	require.Equal(t, protocol.LogOff, s.At(later))
	require.NoError(t, (&protocol.LogSetting{Level: "warn"}).Validate())
	for _, bad := range []protocol.LogSetting{{}, {Level: "loud"}, {Level: "warn", Until: &at}, {Level: "warn", After: "loud"}} {
		require.True(t, fault.Is(bad.Validate(), fault.Invalid), "%+v", bad)
	}
}
