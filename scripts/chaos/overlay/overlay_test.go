package overlay_test

import (
	"go/parser"
	"go/token"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/scripts/chaos/overlay"
)

const root = "../../.."

// TestRules_fitTheSources fails when a source has changed so that a rule has lost its place.
func TestRules_fitTheSources(t *testing.T) {
	t.Parallel()
	agentLog, serverLog := overlay.LogPoints()
	sets := map[string][][]overlay.Rule{
		"agent":  {overlay.AgentPoints(), agentLog, overlay.Recording(), overlay.AgentTimes()},
		"server": {overlay.ServerPoints(), serverLog, overlay.ServerTimes()},
	}
	for _, f := range overlay.Faults() {
		sets["agent, "+f.Name] = append(sets["agent"], f.Agent)
		sets["server, "+f.Name] = append(sets["server"], f.Server)
	}
	for name, set := range sets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed, err := overlay.Apply(root, set...)
			require.NoError(t, err)
			for file, source := range changed {
				_, err := parser.ParseFile(token.NewFileSet(), file, source, parser.AllErrors)
				require.NoError(t, err, file)
			}
		})
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	names := overlay.Names(append(overlay.AgentPoints(), overlay.ServerPoints()...))
	require.Contains(t, names, "journal.before-sync")
	require.Contains(t, names, "server.ingest.after-commit")
	require.Greater(t, len(names), 50)
}

// TestApply_saysWhichAnchorIsGone, because whoever moved it does not know this package.
func TestApply_saysWhichAnchorIsGone(t *testing.T) {
	t.Parallel()
	for name, anchor := range map[string]string{"gone": "no such line", "twice": "err"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := overlay.Apply(root, []overlay.Rule{{File: "agent/internal/journal/journal.go", Anchor: anchor, Before: "x"}})
			require.ErrorContains(t, err, "agent/internal/journal/journal.go: the anchor")
			require.ErrorContains(t, err, anchor)
		})
	}
}
