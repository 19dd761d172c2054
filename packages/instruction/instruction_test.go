package instruction_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

var update = flag.Bool("update", false, "rewrite golden files")

var issued = time.Date(2026, 3, 4, 5, 6, 7, 123_000_000, time.UTC)

const digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func archive() *instruction.Archive {
	return &instruction.Archive{Format: "zip", Size: 30, SHA256: digest, Fragments: []instruction.Fragment{
		{SHA256: strings.Repeat("a", 64), Length: 20}, {SHA256: strings.Repeat("b", 64), Length: 10},
	}}
}

func launch() instruction.Spec {
	return instruction.Spec{
		ID: "01960000-0000-7000-8000-000000000001", Name: "hello", Version: "1.0", Action: instruction.Launch,
		Command: []string{"bin/setup", "--quiet", "<&>"},
	}
}

func build(t testing.TB, s instruction.Spec, a *instruction.Archive) *instruction.Instruction {
	t.Helper()
	i, err := instruction.Build(s, a, issued, 0)
	require.NoError(t, err)
	return i
}

// full uses every field that this build carries out.
func full(t testing.TB) *instruction.Instruction {
	s := launch()
	zero := 0
	s.Priority = &zero
	s.TimeLimitSeconds = 60
	s.Env = map[string]string{"LANG": "C", "MODE": "quiet"}
	s.ExitCodes = []instruction.ExitCode{{Code: 0, Outcome: instruction.OutcomeSuccess}, {Code: 1618, Outcome: instruction.OutcomeRetry}}
	s.Detect = &instruction.Detection{Software: &instruction.SoftwareRule{Name: "hello", Version: "1.0"}}
	s.Requires = &instruction.Requirements{OS: []string{"linux"}, Arch: []string{"amd64"}, MinDiskBytes: 1, MinMemoryBytes: 2, MinAgent: "0.1.0"}
	s.Retry = &instruction.Retry{Attempts: 3, DelaySeconds: 30}
	s.Rerun = instruction.RerunSafe
	s.NeedsCleanBoot = true
	s.Private = true
	return build(t, s, archive())
}

func TestEncode_golden(t *testing.T) {
	t.Parallel()
	store := instruction.Spec{ID: launch().ID, Name: "files", Version: "2", Action: instruction.Store, StorePath: `C:\ProgramData\x`}
	execute := instruction.Spec{ID: launch().ID, Name: "run", Version: "3", Action: instruction.Execute, Command: []string{"/bin/sh", "-c", "true"}}
	for name, i := range map[string]*instruction.Instruction{
		"launch_full": full(t), "launch": build(t, launch(), archive()),
		"store": build(t, store, archive()), "execute": build(t, execute, nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			payload, err := i.Encode()
			require.NoError(t, err)
			path := filepath.Join("testdata", name+".json")
			if *update {
				require.NoError(t, os.WriteFile(path, payload, 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), string(payload), "signed bytes of released versions never change; run with -update only for a new case")
			back, err := instruction.Decode(payload)
			require.NoError(t, err)
			require.Equal(t, i, back)
		})
	}
}

func TestBuild_defaults(t *testing.T) {
	t.Parallel()
	i := build(t, launch(), archive())
	require.Equal(t, instruction.DefaultPriority, i.Priority)
	require.Equal(t, 600, i.TimeLimitSeconds)
	require.Equal(t, uint64(issued.UnixMilli()), i.Serial)
	require.Equal(t, issued.Truncate(time.Second), i.IssuedAt)
	require.Equal(t, i.IssuedAt.Add(365*24*time.Hour), i.ExpiresAt)
}

func TestEncode_refusesAnInvalidDocument(t *testing.T) {
	t.Parallel()
	i := build(t, launch(), archive())
	i.Name = ""
	_, err := i.Encode()
	require.ErrorContains(t, err, "the name is missing")
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
}

func TestValidate_fields(t *testing.T) {
	t.Parallel()
	type I = instruction.Instruction
	many := func(n int, s string) []string { return strings.Split(strings.Repeat(s+",", n-1)+s, ",") }
	for name, c := range map[string]struct {
		change func(i *I)
		field  string
	}{
		"format":                  {func(i *I) { i.Format = 2 }, "format"},
		"id no uuid":              {func(i *I) { i.ID = "x" }, "id"},
		"id upper case":           {func(i *I) { i.ID = "A" + i.ID[1:] }, "id"},
		"name empty":              {func(i *I) { i.Name = "" }, "name"},
		"name long":               {func(i *I) { i.Name = strings.Repeat("ä", 121) }, "name"},
		"name blank":              {func(i *I) { i.Name = "x " }, "name"},
		"name control":            {func(i *I) { i.Name = "a\nb" }, "name"},
		"name turns direction":    {func(i *I) { i.Name = "a\u202eb" }, "name"},
		"version empty":           {func(i *I) { i.Version = "" }, "version"},
		"serial zero":             {func(i *I) { i.Serial = 0 }, "serial"},
		"serial huge":             {func(i *I) { i.Serial = 1 << 63 }, "serial"},
		"priority low":            {func(i *I) { i.Priority = -1 }, "priority"},
		"priority high":           {func(i *I) { i.Priority = 11 }, "priority"},
		"action":                  {func(i *I) { i.Action = "delete" }, "action"},
		"no issue time":           {func(i *I) { i.IssuedAt = time.Time{} }, "issued_at"},
		"expires at once":         {func(i *I) { i.ExpiresAt = i.IssuedAt }, "expires_at"},
		"launch without archive":  {func(i *I) { i.Archive = nil }, "archive"},
		"launch without command":  {func(i *I) { i.Command = nil }, "command"},
		"launch absolute":         {func(i *I) { i.Command[0] = "/bin/sh" }, "command[0]"},
		"launch parent":           {func(i *I) { i.Command[0] = "../x" }, "command[0]"},
		"launch inner parent":     {func(i *I) { i.Command[0] = "a/../../x" }, "command[0]"},
		"launch backslash":        {func(i *I) { i.Command[0] = `a\x.exe` }, "command[0]"},
		"launch drive":            {func(i *I) { i.Command[0] = `c:x.exe` }, "command[0]"},
		"launch dot":              {func(i *I) { i.Command[0] = "." }, "command[0]"},
		"launch with store path":  {func(i *I) { i.StorePath = "/x" }, "store_path"},
		"execute without command": {func(i *I) { i.Action, i.Command = "execute", nil }, "command"},
		"execute blank program":   {func(i *I) { i.Action, i.Command = "execute", []string{" "} }, "command[0]"},
		"store with command":      {func(i *I) { i.Action, i.StorePath = "store", "/x" }, "command"},
		"store without archive":   {func(i *I) { *i = storeOf(i); i.Archive = nil }, "archive"},
		"store relative":          {func(i *I) { *i = storeOf(i); i.StorePath = "x" }, "store_path"},
		"store parent":            {func(i *I) { *i = storeOf(i); i.StorePath = "/a/../b" }, "store_path"},
		"store windows parent":    {func(i *I) { *i = storeOf(i); i.StorePath = `C:\a\..\b` }, "store_path"},
		"store drive only":        {func(i *I) { *i = storeOf(i); i.StorePath = `C:x` }, "store_path"},
		"store stream":            {func(i *I) { *i = storeOf(i); i.StorePath = `C:\x:y` }, "store_path"},
		"store network":           {func(i *I) { *i = storeOf(i); i.StorePath = `\\host\share` }, "store_path"},
		"store exit codes":        {func(i *I) { *i = storeOf(i); i.ExitCodes = []instruction.ExitCode{{Code: 0, Outcome: "success"}} }, "exit_codes"},
		"store env":               {func(i *I) { *i = storeOf(i); i.Env = map[string]string{"A": "b"} }, "env"},
		"archive format":          {func(i *I) { i.Archive.Format = "rar" }, "archive.format"},
		"archive empty":           {func(i *I) { i.Archive.Size = 0 }, "archive.size"},
		"archive huge":            {func(i *I) { i.Archive.Size = 1 << 60 }, "archive.size"},
		"archive digest":          {func(i *I) { i.Archive.SHA256 = strings.ToUpper(digest) }, "archive.sha256"},
		"archive no fragments":    {func(i *I) { i.Archive.Fragments = nil }, "archive.fragments"},
		"archive sum":             {func(i *I) { i.Archive.Size++ }, "archive.fragments"},
		"fragment digest":         {func(i *I) { i.Archive.Fragments[1].SHA256 = "../../x" }, "archive.fragments[1].sha256"},
		"fragment negative":       {func(i *I) { i.Archive.Fragments[0].Length = -1 }, "archive.fragments[0].length"},
		"fragment huge":           {func(i *I) { i.Archive.Fragments[0].Length = 1 << 40 }, "archive.fragments[0].length"},
		"too many arguments":      {func(i *I) { i.Command = many(257, "x") }, "command"},
		"argument long":           {func(i *I) { i.Command[1] = strings.Repeat("x", 8<<10+1) }, "command[1]"},
		"argument NUL":            {func(i *I) { i.Command[1] = "a\x00b" }, "command[1]"},
		"time limit negative":     {func(i *I) { i.TimeLimitSeconds = -1 }, "time_limit_seconds"},
		"time limit long":         {func(i *I) { i.TimeLimitSeconds = 86401 }, "time_limit_seconds"},
		"env empty name":          {func(i *I) { i.Env = map[string]string{"": "x"} }, "env"},
		"env equals":              {func(i *I) { i.Env = map[string]string{"A=B": "x"} }, "env"},
		"env NUL":                 {func(i *I) { i.Env = map[string]string{"A": "\x00"} }, "env"},
		"env case variants":       {func(i *I) { i.Env = map[string]string{"Path": "x", "PATH": "y"} }, "env"},
		"exit code twice":         {func(i *I) { i.ExitCodes = []instruction.ExitCode{{0, "success"}, {0, "failure"}} }, "exit_codes[1].code"},
		"exit code range":         {func(i *I) { i.ExitCodes = []instruction.ExitCode{{1 << 40, "success"}} }, "exit_codes[0].code"},
		"exit code outcome":       {func(i *I) { i.ExitCodes = []instruction.ExitCode{{1, "fine"}} }, "exit_codes[0].outcome"},
		"detect nothing":          {func(i *I) { i.Detect = &instruction.Detection{} }, "detect"},
		"detect two": {func(i *I) {
			i.Detect = &instruction.Detection{Command: []string{"x"}, File: &instruction.FileRule{Path: "/x"}}
		}, "detect"},
		"detect relative file":     {func(i *I) { i.Detect = &instruction.Detection{File: &instruction.FileRule{Path: "x"}} }, "detect.file.path"},
		"detect file digest":       {func(i *I) { i.Detect = &instruction.Detection{File: &instruction.FileRule{Path: "/x", SHA256: "y"}} }, "detect.file.sha256"},
		"detect software unnamed":  {func(i *I) { i.Detect = &instruction.Detection{Software: &instruction.SoftwareRule{}} }, "detect.software.name"},
		"requires os":              {func(i *I) { i.Requires = &instruction.Requirements{OS: []string{"Linux!"}} }, "requires.os"},
		"requires agent":           {func(i *I) { i.Requires = &instruction.Requirements{MinAgent: "new"} }, "requires.min_agent"},
		"requires disk":            {func(i *I) { i.Requires = &instruction.Requirements{MinDiskBytes: -1} }, "requires.min_disk_bytes"},
		"retry never":              {func(i *I) { i.Retry = &instruction.Retry{} }, "retry.attempts"},
		"retry delay":              {func(i *I) { i.Retry = &instruction.Retry{Attempts: 2, DelaySeconds: 3601} }, "retry.delay_seconds"},
		"rerun":                    {func(i *I) { i.Rerun = "always" }, "rerun"},
		"carried but not critical": {func(i *I) { i.Reboot = "now" }, "reboot"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := build(t, launch(), archive())
			c.change(i)
			err := i.Validate()
			var f *fault.Error
			require.ErrorAs(t, err, &f)
			require.Equal(t, c.field, f.Field, err)
			require.Equal(t, fault.Invalid, f.Code)
		})
	}
}

func storeOf(i *instruction.Instruction) instruction.Instruction {
	s := *i
	s.Action, s.Command, s.StorePath = instruction.Store, nil, "/opt/x"
	return s
}

func TestValidate_listsAllProblems(t *testing.T) {
	t.Parallel()
	i := build(t, launch(), archive())
	i.Name, i.Version, i.Priority = "", "", 99
	err := i.Validate()
	require.ErrorContains(t, err, "the name is missing")
	require.ErrorContains(t, err, "the version is missing")
	require.ErrorContains(t, err, "priority 99")
}

func TestValidate_accepts(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/", "/opt/x", "/opt/x/", `C:\`, `C:\Program Files\x`, "d:/x"} {
		i := build(t, launch(), archive())
		s := storeOf(i)
		s.StorePath = path
		require.NoError(t, s.Validate(), path)
	}
}

func TestDecode_refuses(t *testing.T) {
	t.Parallel()
	payload, err := build(t, launch(), archive()).Encode()
	require.NoError(t, err)
	good := string(payload)
	with := func(old, repl string) string {
		require.Contains(t, good, old)
		return strings.Replace(good, old, repl, 1)
	}
	for name, c := range map[string]struct {
		payload string
		reason  protocol.Reason
	}{
		"empty":                     {"", protocol.ReasonMalformed},
		"unknown key":               {with(`{"format"`, `{"surprise":1,"format"`), protocol.ReasonMalformed},
		"duplicate key":             {with(`{"format":1`, `{"format":1,"format":1`), protocol.ReasonMalformed},
		"case variant":              {with(`"action"`, `"Action"`), protocol.ReasonMalformed},
		"case variant beside":       {with(`"action":"launch"`, `"action":"launch","ACTION":"store"`), protocol.ReasonMalformed},
		"duplicate in fragment":     {with(`"length":20`, `"length":20,"Length":20`), protocol.ReasonMalformed},
		"trailing":                  {good + "{}", protocol.ReasonMalformed},
		"not valid":                 {with(`"priority":5`, `"priority":50`), protocol.ReasonMalformed},
		"wrong type":                {with(`"priority":5`, `"priority":"5"`), protocol.ReasonMalformed},
		"too long":                  {good + strings.Repeat(" ", instruction.MaxBytes), protocol.ReasonMalformed},
		"unknown critical":          {with(`{"format"`, `{"critical":["sandbox"],"sandbox":{"on":true},"format"`), protocol.ReasonCritical},
		"carried and critical":      {with(`{"format"`, `{"critical":["reboot"],"reboot":"now","format"`), protocol.ReasonCritical},
		"carried but not critical":  {with(`{"format"`, `{"reboot":"now","format"`), protocol.ReasonMalformed},
		"newer format":              {with(`"format":1`, `"format":2`), protocol.ReasonCritical},
		"critical of another type":  {with(`{"format"`, `{"critical":"reboot","format"`), protocol.ReasonMalformed},
		"critical hidden by a case": {with(`{"format"`, `{"Critical":["sandbox"],"critical":[],"format"`), protocol.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, err := instruction.Decode([]byte(c.payload))
			require.Error(t, err)
			require.Nil(t, i)
			require.Equal(t, c.reason, instruction.ReasonOf(err), err)
			require.False(t, fault.Retryable(err))
		})
	}
	i, err := instruction.Decode([]byte(with(`{"format"`, `{"critical":["env"],"format"`)))
	require.NoError(t, err, "a critical feature that this build implements is no obstacle")
	require.Equal(t, []string{"env"}, i.Critical)
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	a := full(t)
	b := full(t)
	b.Stamp(issued.Add(time.Hour), time.Hour)
	require.True(t, instruction.Equal(a, b), "serial and times are set by every signing")
	b.Command = []string{"bin/other"}
	b.Archive.Fragments[1].SHA256 = strings.Repeat("c", 64)
	b.Env = nil
	require.Equal(t, []string{"archive", "command", "env"}, instruction.Differences(a, b))
	require.False(t, instruction.Equal(a, b))

	c, d := build(t, launch(), archive()), build(t, launch(), archive())
	d.Rerun, d.Env, d.ExitCodes = instruction.RerunNever, map[string]string{}, []instruction.ExitCode{}
	require.True(t, instruction.Equal(c, d), "the same said in another way")
}

func TestReasonOf_otherErrors(t *testing.T) {
	t.Parallel()
	require.Empty(t, instruction.ReasonOf(nil))
	require.Empty(t, instruction.ReasonOf(os.ErrPermission))
}

// FuzzDecodeInstruction holds that an accepted document survives encoding unchanged.
func FuzzDecodeInstruction(f *testing.F) {
	for _, i := range []*instruction.Instruction{full(f), build(f, launch(), archive())} {
		payload, err := i.Encode()
		require.NoError(f, err)
		f.Add(payload)
	}
	f.Add([]byte(`{"critical":["x"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := instruction.Decode(data)
		if err != nil {
			require.NotEmpty(t, instruction.ReasonOf(err))
			return
		}
		payload, err := i.Encode()
		require.NoError(t, err)
		again, err := instruction.Decode(payload)
		require.NoError(t, err)
		require.True(t, instruction.Equal(i, again))
	})
}
