package cli

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/task/inventory"
	"github.com/muster/muster/packages/protocol"
)

// TestInventory_isPrinted: the command prints this computer's sections as one JSON document.
func TestInventory_isPrinted(t *testing.T) {
	t.Parallel()
	var out, problems bytes.Buffer
	require.Equal(t, exitOK, Main([]string{"inventory", "--sections", "software, system"}, &out, &problems), problems.String())
	var printed struct {
		Sections []struct {
			Name string         `json:"name"`
			Rows []protocol.Row `json:"rows"`
		} `json:"sections"`
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &printed), out.String())
	require.Len(t, printed.Sections, 2)
	require.Equal(t, protocol.SectionSystem, printed.Sections[0].Name)
	require.Len(t, printed.Sections[0].Rows, 1)
	require.NotEmpty(t, printed.Sections[0].Rows[0].Name)

	require.Equal(t, exitUsage, Main([]string{"inventory", "--sections", "No Name"}, &out, &problems))
	require.Equal(t, exitUsage, Main([]string{"inventory", "extra"}, &out, &problems))
}

// TestInventory_printsProblems: what could not be collected stands beside what could.
func TestInventory_printsProblems(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, writeSections(&out, []inventory.Section{
		{Name: "bios", Problem: `no "table"`},
		{Name: "users", Lines: []byte("{\"key\":\"a\"}\n{\"key\":\"b\"}\n"), Rows: 2},
	}))
	require.JSONEq(t, `{"sections":[{"name":"bios","problem":"no \"table\"","rows":[]},{"name":"users","problem":"","rows":[{"key":"a"},{"key":"b"}]}]}`, out.String())
}
