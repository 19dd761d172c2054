package deploy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

// decided is what every action does to every standing, in the order of actions below. A state, a reason to
// wait or an action that is added without a decision here fails the test.
const decided = `
                                  cancel unassign retire revoke retry   sign
assigned        live              end    end      end    end    refuse  adopt
accepted        live              end    end      end    end    refuse  adopt
fetching        live              end    end      end    end    refuse  adopt
fetched         live              end    end      end    end    refuse  adopt
unpacked        live              end    end      end    end    refuse  adopt
started         live  begun       end    end      end    end    refuse  adopt
waiting         live              end    end      end    end    restart adopt
waiting         live  begun       end    end      end    end    refuse  adopt
sign_again      live              end    end      end    end    restart restart
sign_again      live  begun       end    end      end    end    refuse  restart
refused         live              end    end      end    end    restart restart
interrupted     live              end    end      end    end    restart adopt
failed          live              end    end      end    end    restart adopt
succeeded       over              refuse none     none   none   restart none
failed          over              refuse none     none   none   restart none
refused         over              refuse none     none   none   restart none
expired         over              refuse none     none   none   restart none
interrupted     over              refuse none     none   none   restart none
not_applicable  over              refuse none     none   none   restart none
cancelled       over              refuse none     none   none   restart none
unassigned      over              refuse none     none   none   refuse  none
`

// reasonsToWait are decided like any other waiting; sign_again has rows of its own.
var reasonsToWait = strings.Fields(`held_by_priority_0 retry_backoff disk_space stalled busy clean_boot package_not_active
	device_pending device_quarantined agent_restarted released device_error trust_invalid`)

func TestDecide_everyCell(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.Trim(decided, "\n"), "\n")
	actions := strings.Fields(lines[0])
	require.ElementsMatch(t, constants(t, "action.go", "action"), actions, "an action without a column")
	rows := map[string][]string{}
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		cut := len(f) - len(actions)
		rows[strings.Join(f[:cut], " ")] = f[cut:]
	}
	for _, state := range constants(t, "../../../packages/protocol/state.go", "State") {
		reasons := []string{""}
		if state == "waiting" {
			reasons = append(reasonsToWait, "sign_again", "of a later agent")
		}
		for _, reason := range reasons {
			for _, s := range standings(protocol.State(state), protocol.Reason(reason)) {
				name := key(s)
				row := rows[name]
				require.NotNil(t, row, "nobody decided what happens to %q", name)
				for i, a := range actions {
					require.Equal(t, move(row[i]), decide(action(a), s), "%s of %s", a, name)
				}
			}
		}
	}
	require.Equal(t, moveRefuse, decide("anything else", standing{State: protocol.StateAssigned, Live: true}))
}

// standings are the ways in which a deployment can stand with the state: what is final is live only where it
// blocks, and a command may run only where the state does not say that it has not begun.
func standings(state protocol.State, reason protocol.Reason) []standing {
	s := standing{State: state, Reason: reason, Live: true}
	begun := s
	begun.Begun = true
	switch state {
	case protocol.StateStarted:
		return []standing{begun}
	case protocol.StateWaiting:
		return []standing{s, begun}
	case protocol.StateRefused, protocol.StateInterrupted, protocol.StateFailed:
		return []standing{s, {State: state, Reason: reason}}
	default:
		s.Live = !state.Final()
		return []standing{s}
	}
}

func key(s standing) string {
	name := string(s.State)
	if s.Reason == protocol.ReasonSignAgain {
		name = string(s.Reason)
	}
	if s.Live {
		name += " live"
	} else {
		name += " over"
	}
	if s.Begun {
		name += " begun"
	}
	return name
}

// constants lists the values of the constants of a type in a file, which is read as text so that one that is
// added shows up here by itself.
func constants(t *testing.T, file, typeName string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	require.NoError(t, err)
	var values []string
	for _, decl := range f.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			v := spec.(*ast.ValueSpec)
			if ident, ok := v.Type.(*ast.Ident); ok && ident.Name == typeName {
				value, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				values = append(values, value)
			}
		}
	}
	require.NotEmpty(t, values)
	return values
}

// TestReasonsToWait_areAllDecided: every reason for which the server has words.
func TestReasonsToWait_areAllDecided(t *testing.T) {
	t.Parallel()
	for reason := range waits {
		if reason == protocol.ReasonSignAgain || reason == protocol.ReasonRetry {
			continue
		}
		require.Contains(t, reasonsToWait, string(reason))
	}
}
