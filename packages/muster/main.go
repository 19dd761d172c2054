// Command muster is the command line of package authors and administrators: it packs, uploads, signs
// and assigns packages, and watches their deployments.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/muster/muster/packages/muster/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], cli.System())
	stop()
	os.Exit(code)
}
