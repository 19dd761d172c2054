// Command muster-server takes the roll of computers and deploys software to them.
package main

import (
	"os"

	"github.com/muster/muster/server/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
