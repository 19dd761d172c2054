package deploy

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

func TestAdvance(t *testing.T) {
	t.Parallel()
	const older, last, newer = "1", "2", "3"
	at := func(state, reached protocol.State) position {
		return position{State: state, Reached: reached, LastReport: last, Current: true}
	}
	superseded := at(protocol.StateAssigned, protocol.StateFetching)
	superseded.Current = false
	for name, tc := range map[string]struct {
		pos    position
		report string
		state  protocol.State
		want   step
	}{
		"first report":                {at("assigned", "assigned"), newer, "accepted", step{true, true, "accepted"}},
		"steps may be skipped":        {at("assigned", "assigned"), newer, "succeeded", step{true, true, "succeeded"}},
		"forwards though older":       {at("fetching", "fetching"), older, "started", step{true, true, "started"}},
		"never backwards":             {at("started", "started"), newer, "fetching", step{}},
		"same again":                  {at("started", "started"), newer, "started", step{}},
		"waiting is shown":            {at("fetching", "fetching"), newer, "waiting", step{false, true, "waiting"}},
		"late waiting is not shown":   {at("fetched", "fetched"), older, "waiting", step{false, false, "waiting"}},
		"goes on after waiting":       {at("waiting", "fetching"), newer, "fetching", step{false, true, "fetching"}},
		"does work again":             {at("waiting", "unpacked"), newer, "fetching", step{false, true, "unpacked"}},
		"late step before waiting":    {at("waiting", "fetching"), older, "accepted", step{}},
		"released, then accepted":     {at("waiting", "assigned"), newer, "accepted", step{true, true, "accepted"}},
		"final stays":                 {at("failed", "failed"), newer, "succeeded", step{}},
		"final stays for waiting":     {at("failed", "failed"), newer, "waiting", step{}},
		"cancelled keeps its state":   {at("cancelled", "started"), newer, "succeeded", step{true, false, "succeeded"}},
		"unassigned ignores waiting":  {at("unassigned", "fetching"), newer, "waiting", step{false, false, "waiting"}},
		"superseded attempt finishes": {superseded, newer, "failed", step{true, false, "failed"}},
	} {
		require.Equal(t, tc.want, advance(tc.pos, tc.report, tc.state), name)
	}
}

// Whatever order reports come in, an attempt ends where the furthest of them says, and nothing that
// was reached is ever lost.
func TestAdvance_anyOrder(t *testing.T) {
	t.Parallel()
	states := []protocol.State{"accepted", "fetching", "waiting", "fetching", "fetched", "unpacked", "started", "succeeded"}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		p := position{State: "assigned", Reached: "assigned", Current: true}
		for _, i := range r.Perm(len(states)) {
			before := p.Reached.Rank()
			id := fmt.Sprint(i)
			s := advance(p, id, states[i])
			if s.Reaches {
				p.Reached = s.State
			}
			if s.Shows {
				p.State = s.State
			}
			if s.Reaches || s.Shows {
				p.LastReport = max(p.LastReport, id)
			}
			require.GreaterOrEqual(t, p.Reached.Rank(), before)
		}
		require.Equal(t, protocol.StateSucceeded, p.Reached)
		require.Equal(t, protocol.StateSucceeded, p.State)
	}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	final := func(s protocol.State, r protocol.Reason, live bool) verdict {
		return verdict{State: s, Reason: r, Live: live}
	}
	again := func(d time.Duration) verdict {
		return verdict{State: "waiting", Reason: "retry_backoff", Live: true, Again: true, Delay: d}
	}
	signAgain := verdict{State: "waiting", Reason: "sign_again", Live: true}
	p0, normal := policy{Priority: 0}, policy{Priority: 5}
	for name, tc := range map[string]struct {
		p      policy
		state  protocol.State
		reason protocol.Reason
		want   verdict
	}{
		"succeeded":                    {normal, "succeeded", "exit_code", final("succeeded", "exit_code", false)},
		"p0 succeeded frees":           {p0, "succeeded", "exit_code", final("succeeded", "exit_code", false)},
		"p0 not applicable frees":      {p0, "not_applicable", "requirements", final("not_applicable", "requirements", false)},
		"failed without policy":        {normal, "failed", "exit_code", final("failed", "exit_code", false)},
		"failed, attempts left":        {policy{Priority: 5, RetryAttempts: 3}, "failed", "exit_code", again(30 * time.Second)},
		"failed, own delay":            {policy{Priority: 5, RetryAttempts: 3, RetryDelay: time.Minute, Failures: 1}, "failed", "time_limit", again(2 * time.Minute)},
		"failed, attempts used":        {policy{Priority: 5, RetryAttempts: 3, Failures: 2}, "failed", "exit_code", final("failed", "exit_code", false)},
		"retry later":                  {normal, "failed", "retry_later", again(30 * time.Second)},
		"retry later, at most ten":     {policy{Priority: 5, Failures: 9}, "failed", "retry_later", final("failed", "retry_later", false)},
		"p0 failed is always retried":  {policy{Priority: 0, Failures: 500}, "failed", "exit_code", again(time.Hour)},
		"p0 retry later without limit": {policy{Priority: 0, Failures: 50}, "failed", "retry_later", again(time.Hour)},
		"refused":                      {normal, "refused", "signature_invalid", final("refused", "signature_invalid", false)},
		"p0 refused blocks":            {p0, "refused", "signature_invalid", final("refused", "signature_invalid", true)},
		"interrupted":                  {normal, "interrupted", "no_status", final("interrupted", "no_status", false)},
		"p0 interrupted blocks":        {p0, "interrupted", "no_status", final("interrupted", "no_status", true)},
		"interrupted, safe to rerun":   {policy{Priority: 5, RerunSafe: true}, "interrupted", "no_status", again(30 * time.Second)},
		"interrupted for the 10th":     {policy{Priority: 5, RerunSafe: true, Failures: 9}, "interrupted", "no_status", final("interrupted", "no_status", false)},
		"expired":                      {normal, "expired", "", signAgain},
		"p0 expired blocks":            {p0, "expired", "", signAgain},
	} {
		require.Equal(t, tc.want, settle(tc.p, tc.state, tc.reason, 0.5), name)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		failures int
		base     time.Duration
		random   float64
		want     time.Duration
	}{
		{0, 0, 0.5, 30 * time.Second},
		{0, 0, 0, 24 * time.Second},
		{0, 0, 1, 36 * time.Second},
		{1, 0, 0.5, time.Minute},
		{3, 0, 0.5, 4 * time.Minute},
		{7, 0, 0.5, time.Hour},
		{1 << 30, 0, 1, time.Hour},
		{2, 10 * time.Second, 0.5, 40 * time.Second},
		{0, 5 * time.Hour, 0.5, time.Hour},
	} {
		require.Equal(t, tc.want, backoff(tc.failures, tc.base, tc.random), "%+v", tc)
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	const x = "priority-0 package X 1.0"
	byX, byY := hold{"held_by_priority_0", x}, hold{"held_by_priority_0", "priority-0 package Y 2"}
	pending, quarantined := hold{Reason: "device_pending"}, hold{Reason: "device_quarantined"}
	p0 := gated{ID: "b", Priority: 0, Package: "X 1.0", State: "assigned"}
	other := gated{ID: "a", Priority: 0, Package: "Y 2", State: "refused"}
	later := gated{ID: "z", Priority: 0, Package: "L 1", State: "assigned", Scheduled: true}
	plain := gated{ID: "c", Priority: 5, Package: "Z 3", State: "assigned"}
	held := gated{ID: "d", Priority: 1, State: "waiting", Reason: "held_by_priority_0", WaitsFor: x}
	started := gated{ID: "e", Priority: 5, State: "started"}
	unsigned := gated{ID: "f", Priority: 5, State: "waiting", Reason: "sign_again"}
	delayed := gated{ID: "g", Priority: 5, State: "waiting", Reason: "retry_backoff"}
	barred := gated{ID: "h", Priority: 0, Package: "X 1.0", State: "waiting", Reason: "device_quarantined"}
	for name, tc := range map[string]struct {
		live []gated
		bar  protocol.Reason
		want []gateChange
	}{
		"nothing":                       {nil, "", nil},
		"nobody holds":                  {[]gated{plain, started, unsigned}, "", nil},
		"p0 holds back":                 {[]gated{delayed, plain, p0}, "", []gateChange{{"c", byX, ""}, {"g", byX, ""}}},
		"p0 for later holds nothing":    {[]gated{plain, later}, "", nil},
		"p0s do not hold each other":    {[]gated{p0, other}, "", nil},
		"already held":                  {[]gated{p0, held}, "", nil},
		"the oldest is named":           {[]gated{p0, held, other}, "", []gateChange{{"d", byY, "held_by_priority_0"}}},
		"freed":                         {[]gated{held, plain}, "", []gateChange{{"d", hold{}, "held_by_priority_0"}}},
		"running commands go on":        {[]gated{p0, started}, "", nil},
		"who waits for a key stays so":  {[]gated{p0, unsigned}, "", nil},
		"a pending device":              {[]gated{plain, p0}, "device_pending", []gateChange{{"b", pending, ""}, {"c", pending, ""}}},
		"a quarantined device":          {[]gated{held, started, unsigned, barred, other}, "device_quarantined", []gateChange{{"d", quarantined, "held_by_priority_0"}}},
		"no longer quarantined":         {[]gated{barred}, "", []gateChange{{"h", hold{}, "device_quarantined"}}},
		"p0 holds what was quarantined": {[]gated{p0, {ID: "i", Priority: 3, State: "waiting", Reason: "device_quarantined"}}, "", []gateChange{{"i", byX, "device_quarantined"}}},
	} {
		require.Equal(t, tc.want, gate(tc.live, tc.bar), name)
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	code := func(n int) *int { return &n }
	next := time.Date(2026, 11, 21, 5, 0, 30, 0, time.UTC)
	for want, r := range map[string]result{
		"succeeded (exit code 0)":                             {State: "succeeded", Reason: "exit_code", ExitCode: code(0)},
		"succeeded (exit code 3010), reboot needed":           {State: "succeeded", Reason: "reboot_needed", ExitCode: code(3010)},
		"succeeded (already installed)":                       {State: "succeeded", Reason: "already_installed"},
		"succeeded (contents stored)":                         {State: "succeeded", Reason: "stored"},
		"failed (exit code 7)":                                {State: "failed", Reason: "exit_code", ExitCode: code(7)},
		"failed (time limit reached)":                         {State: "failed", Reason: "time_limit", ExitCode: code(-1)},
		"failed (ended by signal killed)":                     {State: "failed", Reason: "signal", Signal: "killed"},
		"failed (the command could not be started)":           {State: "failed", Reason: "cannot_start"},
		"failed (exit code 1618, which asks to try later)":    {State: "failed", Reason: "retry_later", ExitCode: code(1618)},
		"failed (ran, but is not detected as installed)":      {State: "failed", Reason: "not_detected", ExitCode: code(0)},
		"waiting: priority-0 package X 1.0 has not succeeded": {State: "waiting", Reason: "held_by_priority_0", WaitsFor: "priority-0 package X 1.0"},
		"waiting: not enough free disk space":                 {State: "waiting", Reason: "disk_space"},
		"waiting: brand_new":                                  {State: "waiting", Reason: "brand_new"},
		"waiting: no reason given":                            {State: "waiting"},
		"refused: no valid signature of a trusted key":        {State: "refused", Reason: "signature_invalid"},
		"cancelled: the package was retired":                  {State: "cancelled", Reason: "package_retired"},
		"cancelled: ended by an administrator":                {State: "cancelled", Reason: "by_admin"},
		"unassigned: the assignment was taken back":           {State: "unassigned"},
		"assigned: not yet picked up by the device":           {State: "assigned"},
		"waiting: attempt 2 not before 2026-11-21 05:00:30 UTC, after exit code 7": {
			State: "waiting", Reason: "retry_backoff", ExitCode: code(7), NextAt: &next, Attempt: 2,
		},
	} {
		require.Equal(t, want, summary(r))
	}
}

// TestDetail: what stands beside a badge with the state does not say the state again.
func TestDetail(t *testing.T) {
	t.Parallel()
	three := 3010
	for want, r := range map[string]result{
		"exit code 3010, reboot needed":              {State: "succeeded", Reason: "reboot_needed", ExitCode: &three},
		"reboot needed":                              {State: "succeeded", Reason: "reboot_needed"},
		"time limit reached":                         {State: "failed", Reason: "time_limit"},
		"priority-0 package X 1.0 has not succeeded": {State: "waiting", Reason: "held_by_priority_0", WaitsFor: "priority-0 package X 1.0"},
		"not yet picked up by the device":            {State: "assigned"},
		"the package was retired":                    {State: "cancelled", Reason: "package_retired"},
		"command started":                            {State: "started"},
	} {
		require.Equal(t, want, detail(r))
	}
	for _, s := range []protocol.State{"assigned", "accepted", "fetching", "fetched", "unpacked", "started", "expired", "interrupted", "not_applicable", "unassigned"} {
		require.NotEmpty(t, detail(result{State: s}), s)
	}
}
