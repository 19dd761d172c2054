package service

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
)

// TestUnit: without a package the unit says the same but for where the agent lies.
func TestUnit(t *testing.T) {
	t.Parallel()
	same := unit(Options{Program: "/usr/bin/muster-agent", Data: "/var/lib/muster-agent", Default: true})
	require.Equal(t, unitText, strings.Replace(same, `"/usr/bin/muster-agent"`, "/usr/bin/muster-agent", 1))
	other := unit(Options{Program: "/opt/my agent/muster-agent", Data: `/srv/50%/"a\b$c`})
	require.Contains(t, other, `ExecStart="/opt/my agent/muster-agent" run --data "/srv/50%%/\"a\\b$$c"`+"\n")
	require.NotContains(t, other, "StateDirectory")
	for _, kept := range []string{"KillMode=process", "Restart=always", "RestartPreventExitStatus=10"} {
		require.Contains(t, other, kept)
	}
	require.Equal(t, strings.Count(unitText, "\n")-2, strings.Count(other, "\n"))
}

func TestInstall_refusesWhatCouldAddLines(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{Program: "/a\nExecStartPre=/b", Data: "/c"}, {Program: "/a", Data: "/c\x7f"}} {
		require.Equal(t, fault.Invalid, fault.CodeOf(Install(t.Context(), o)))
	}
}
