// Package task is what the resident and its task processes say to each other: the input a task gets, the
// events it tells, and the entry of the child. It keeps nothing; what must survive a crash is journalled
// by the task itself before it tells it. The resident and the tasks import it, and it imports no task.
package task

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/modules"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// Input is what a task process gets on its standard input.
type Input struct {
	DataDir    string        `json:"data_dir"`
	Server     string        `json:"server"` // name of the server's folder
	ChangeLock string        `json:"change_lock"`
	LogLevel   slog.Level    `json:"log_level"`
	Task       protocol.Task `json:"task"`
	// KeepFragments says that fragments of shared packages stay after a success, for others to fetch.
	KeepFragments bool `json:"keep_fragments,omitempty"`
	// Processes adds the running programs to an inventory.
	Processes bool `json:"processes,omitempty"`
	// Program is the agent that runs, for an update.
	Program launch.Program `json:"program"`
	// Modules is the folder of modules from outside.
	Modules string `json:"modules,omitempty"`
	// Again tells the server of all that modules found, also of what it has got.
	Again bool `json:"again,omitempty"`
	// Untrusted, when set, is why nothing that the server asks for may be begun at present.
	Untrusted string `json:"untrusted,omitempty"`
}

// Event is what a task tells. Exactly one field is set.
type Event struct {
	Report   *protocol.Report   `json:"report,omitempty"`
	Progress *protocol.Progress `json:"progress,omitempty"`
	End      *End               `json:"end,omitempty"`
}

// End is a task's last event.
type End struct {
	// State is final when the attempt is over, else waiting.
	State protocol.State `json:"state"`
	// NextTry is when to start the task again, when it waits.
	NextTry time.Time `json:"next_try"`
	// Restart says that the launcher is to judge which agent runs, before anything else is begun.
	Restart bool `json:"restart,omitempty"`
	// Problem says to people why the task waits or failed, where no report does.
	Problem string `json:"problem,omitempty"`
	// Sent and Received count the octets that this process exchanged with the server.
	Sent     int64 `json:"sent,omitempty"`
	Received int64 `json:"received,omitempty"`
	// Modules are those that there are, after they were looked at.
	Modules []modules.State `json:"modules,omitempty"`
}

// Emit tells the resident an event. An error means that nobody listens any more.
type Emit func(Event) error

// Func carries out one kind of task.
type Func func(ctx context.Context, in Input, emit Emit, log *slog.Logger) error

// Main is `task NAME` in the child: it finds the task, runs it, and returns the process's exit code.
func Main(name string, registry map[string]Func, stderr io.Writer) int {
	run, ok := registry[name]
	if !ok {
		fmt.Fprintf(stderr, "no task is called %q\n", name)
		return 2
	}
	return proc.ChildMain(func(ctx context.Context, input []byte, emit func(any) error) error {
		in, err := decode(input)
		if err != nil {
			return err
		}
		log := logging.New(stderr, in.LogLevel, logging.Tagged).With(logging.Task, name)
		return run(ctx, in, func(e Event) error {
			if e.End != nil {
				e.End.Sent, e.End.Received = client.Octets()
			}
			return emit(e)
		}, log)
	})
}

func decode(input []byte) (Input, error) {
	var in Input
	if err := json.Unmarshal(input, &in); err != nil {
		return in, fault.Wrap(err, fault.Invalid, "decode the task's input")
	}
	return in, nil
}
