package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/muster/muster/server/internal/config"
)

// openapi prints the document from which the web page's types are made.
func (p *program) openapi() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "Print the OpenAPI document of the admin API", Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return printOpenAPI(cmd.Context(), p.out) },
	}
}

func printOpenAPI(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "muster-openapi-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() {
		if rerr := os.RemoveAll(dir); err == nil {
			err = rerr
		}
	}()
	cfg := config.Default()
	cfg.Data, cfg.Listen, cfg.HTTP = dir, "127.0.0.1:0", ""
	s, err := Start(ctx, Options{Config: cfg, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	document, err := json.Marshal(s.API().OpenAPI())
	if cerr := s.Close(ctx); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, document, "", "  "); err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	pretty.WriteByte('\n')
	_, err = pretty.WriteTo(out)
	return err
}
