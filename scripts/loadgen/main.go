// Command loadgen puts a Muster server under the load of any number of devices, and says what the server
// made of it.
//
// Each device is one of its own: it enrolls with its own secret, checks in over TLS with the server's CA
// pinned, holds its own WebSocket, carries deploy tasks out by reporting each step in order, and sends a
// report again until it is acknowledged. Only what a package would do to a computer is left out. At the end
// the server's rows are compared with what was acknowledged here; a report that is missing, doubled or
// strange makes the program fail. It imports the wire contract and nothing of server or agent. It keeps
// nothing that a crash could spoil: devices of an earlier run are left as they are on the server.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// options are what the command line says.
type options struct {
	admin         string
	username      string
	passwordFile  string
	caFingerprint string
	devices       int
	parallel      int
	keep          bool
	resume        bool
	pids          []int
	duration      time.Duration
	rate          float64
	batch         int
	settle        time.Duration
	json          bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "loadgen: %v\n", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	o := &options{}
	c := &cobra.Command{
		Use:   "loadgen [flags] SCENARIO...",
		Short: "Put a Muster server under the load of many devices",
		Long: "Runs the scenarios in the order they are named, all with the same devices:\n\n" + scenarioHelp() +
			"\nThe server's rows are compared with what was acknowledged when all have run.",
		Args: cobra.MinimumNArgs(1), SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, names []string) error { return run(c.Context(), *o, names) },
	}
	f := c.PersistentFlags()
	f.IntVar(&o.parallel, "parallel", 64, "requests or handshakes that are begun at the same time by a closed loop")
	f.DurationVar(&o.duration, "duration", 10*time.Second, "length of scenarios that have none of their own")
	f.IntSliceVar(&o.pids, "pid", nil, "processes of the server, whose CPU time and memory are told (Linux)")
	f.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	l := c.Flags()
	l.StringVar(&o.admin, "admin", "http://localhost:8080", "`address` of the admin API")
	l.StringVar(&o.username, "username", "admin", "of an admin")
	l.StringVar(&o.passwordFile, "password-file", "", "`file` with the admin's password")
	l.StringVar(&o.caFingerprint, "ca-fingerprint", "", "SHA-256 of the server's CA, needed when --admin is https")
	l.IntVar(&o.devices, "devices", 100, "how many devices")
	l.BoolVar(&o.keep, "keep", false, "keep the connection of check-ins open; agents close it")
	l.BoolVar(&o.resume, "resume", true, "resume TLS sessions, as agents do")
	l.Float64Var(&o.rate, "rate", 0, "check-ins per second; 0 is as many as the server answers")
	l.IntVar(&o.batch, "batch", 10, "reports in one message of the scenario reports")
	l.DurationVar(&o.settle, "settle", 50*time.Second, "how long idle devices are left alone before memory is read")
	c.AddCommand(fetchCommand(o))
	return c
}

// scenarios are what can be run, by name.
var scenarios = []struct {
	name, help string
	run        func(context.Context, *fleet) ([]result, error)
}{
	{"handshakes", "one TLS handshake per device and nothing else, for comparison", handshakes},
	{"connect", "open every device's WebSocket; each checks in when it is up", connectAll},
	{"memory", "connect one half, then the other, and read what a device adds to the server's memory", memory},
	{"idle", "leave the connected devices alone for --duration", idle},
	{"wake", "assign a package to all: from the assignment to each check-in; then carry it out", wake},
	{"deploy", "assign a package to all and carry it out as each device hears of it", deployAll},
	{"checkins", "check-ins at --rate for --duration, counted from when they were due", checkIns},
	{"reports", "batches of reports over the WebSockets for --duration", reports},
	{"overload", "find the capacity for check-ins, offer it and then twice of it, with deployments beside", overload},
	{"reconnect", "wait until the server is restarted by somebody else, then until all are back", reconnect},
}

func scenarioHelp() string {
	var b strings.Builder
	for _, s := range scenarios {
		fmt.Fprintf(&b, "  %-11s %s\n", s.name, s.help)
	}
	return b.String()
}

// run makes the devices, runs the scenarios and compares the rows.
func run(ctx context.Context, o options, names []string) error {
	var chosen []func(context.Context, *fleet) ([]result, error)
	for _, name := range names {
		n := slices.IndexFunc(scenarios, func(s struct {
			name, help string
			run        func(context.Context, *fleet) ([]result, error)
		}) bool {
			return s.name == name
		})
		if n < 0 {
			return fmt.Errorf("there is no scenario %q; see loadgen --help", name)
		}
		chosen = append(chosen, scenarios[n].run)
	}
	fl, made, err := newFleet(ctx, o)
	if err != nil {
		return err
	}
	defer fl.close()
	all := made
	for n, scenario := range chosen {
		progress("%s", names[n])
		found, err := scenario(ctx, fl)
		all = append(all, found...)
		if err != nil {
			show(o, all)
			return fmt.Errorf("%s: %w", names[n], err)
		}
	}
	progress("compare with the server's rows")
	compared, err := compare(ctx, fl)
	show(o, append(all, compared...))
	return err
}

// progress tells whoever watches what goes on; figures go to standard output.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}
