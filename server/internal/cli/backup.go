package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/backup"
	"github.com/muster/muster/server/internal/config"
	"github.com/muster/muster/server/internal/store"
)

func (p *program) backup() *cobra.Command {
	c := &cobra.Command{
		Use: "backup FILE", Short: "Write database, keys and fragments into one file; the server may run on",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.runBackup(cmd.Context(), args[0]) },
	}
	p.configFlags(c)
	return c
}

func (p *program) runBackup(ctx context.Context, path string) (err error) {
	cfg, err := p.load()
	if err != nil {
		return err
	}
	if inside(cfg.Data, path) {
		return usageError{fmt.Errorf("the backup %s would lie in the data directory that it saves; name a file elsewhere", path)}
	}
	db, err := openExisting(ctx, cfg, p.logger(cfg))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	skip := []string{filepath.Join(cfg.Data, lockFile)}
	if file := sqliteFile(cfg); file != "" {
		skip = append(skip, file, file+"-wal", file+"-shm", file+"-journal")
	}
	if err := backup.Write(ctx, backup.Source{DB: db, Data: cfg.Data, Skip: skip, Version: buildinfo.Version}, path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("look at the backup: %w", err)
	}
	fmt.Fprintf(p.out, "%s: %d bytes. It holds the server's keys: keep it as safe as the server.\n", path, info.Size())
	return nil
}

func (p *program) restore() *cobra.Command {
	c := &cobra.Command{
		Use: "restore FILE", Short: "Put a backup back into an empty data directory (and an empty database)",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.runRestore(cmd.Context(), args[0]) },
	}
	p.configFlags(c)
	return c
}

func (p *program) runRestore(ctx context.Context, path string) error {
	cfg, err := p.load()
	if err != nil {
		return err
	}
	log := p.logger(cfg)
	err = backup.Restore(ctx, path, backup.Target{
		Data: cfg.Data, SQLite: sqliteFile(cfg),
		Load: func(ctx context.Context, rows io.Reader) error { return loadRows(ctx, cfg, log, rows) },
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "restored into %s\n", cfg.Data)
	return nil
}

func loadRows(ctx context.Context, cfg config.Config, log *slog.Logger, rows io.Reader) error {
	if cfg.Database == "" {
		return fault.New(fault.Invalid, "the backup is of a MySQL database; name an empty one with --database")
	}
	db, err := store.Open(ctx, cfg.Database, log)
	if err != nil {
		return err
	}
	return errors.Join(db.Load(ctx, rows), db.Close())
}

// openExisting opens the database of a server that has been started before.
func openExisting(ctx context.Context, cfg config.Config, log *slog.Logger) (*store.DB, error) {
	if file := sqliteFile(cfg); file != "" {
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("find the server's database (is --data right?): %w", err)
		}
	}
	return store.Open(ctx, cfg.DatabaseURL(), log)
}

// sqliteFile is the path of a SQLite database, empty for another.
func sqliteFile(cfg config.Config) string {
	u, err := url.Parse(cfg.DatabaseURL())
	if err != nil || u.Scheme != store.SQLite {
		return ""
	}
	return filepath.FromSlash(u.Path)
}

// inside reports whether path lies in dir.
func inside(dir, path string) bool {
	d, derr := filepath.Abs(dir)
	f, ferr := filepath.Abs(path)
	if derr != nil || ferr != nil {
		return false
	}
	return strings.HasPrefix(f, d+string(filepath.Separator))
}
