// Muster-agent takes the roll of the computer it runs on and installs what its servers hand out. All of
// it is in agent/internal/cli; see there for the subcommands.
package main

import (
	"os"

	"github.com/muster/muster/agent/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
