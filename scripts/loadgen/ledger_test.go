package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

// TestLedgerCheck: the comparison finds each way in which rows and acknowledgements can differ.
func TestLedgerCheck(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ deployment, problem string }{
		"equal": {
			`{"id":"d","state":"succeeded","timeline":[{"source":"server","state":"assigned"},
			{"source":"device","message":"a"},{"source":"device","message":"b"}]}`, "",
		},
		"missing": {`{"id":"d","state":"succeeded","timeline":[{"source":"device","message":"a"}]}`, "holds 1 of 2"},
		"doubled": {
			`{"id":"d","state":"succeeded","timeline":[{"source":"device","message":"a"},{"source":"device","message":"a"}]}`,
			"the report a twice",
		},
		"strange":   {`{"id":"d","state":"succeeded","timeline":[{"source":"device","message":"c"}]}`, `report "c"`},
		"other end": {`{"id":"d","state":"failed","timeline":[{"source":"device","message":"a"},{"source":"device","message":"b"}]}`, "is failed, not succeeded"},
	} {
		l := newLedger()
		l.expect("d", protocol.StateSucceeded)
		sent := []protocol.Report{
			{ID: "a", Deployment: &protocol.DeploymentReport{DeploymentID: "d"}},
			{ID: "b", Deployment: &protocol.DeploymentReport{DeploymentID: "d"}},
			{ID: "not acknowledged", Deployment: &protocol.DeploymentReport{DeploymentID: "d"}},
		}
		l.acknowledge(sent, protocol.Ack{IDs: []string{"a", "b"}})
		l.acknowledge(sent, protocol.Ack{IDs: []string{"a"}}) // sent again
		require.Equal(t, 2, l.counted())
		var d deployment
		require.NoError(t, json.Unmarshal([]byte(tc.deployment), &d))
		_, err := l.check(d)
		if tc.problem == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, tc.problem, name)
		}
	}
}
