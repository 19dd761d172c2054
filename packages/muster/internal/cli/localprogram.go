package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/release"
)

// localProgram is the author's own program for one platform, packed and measured by this program.
type localProgram struct {
	localArchive
	path        string
	build       release.Build
	saysVersion bool // the program holds the text of its version
}

// packProgram reads "OS/ARCH=FILE" and packs the file.
func packProgram(ctx context.Context, build, version string) (*localProgram, error) {
	platform, path, found := strings.Cut(build, "=")
	goos, goarch, slash := strings.Cut(platform, "/")
	if !found || !slash || goos == "" || goarch == "" || path == "" {
		return nil, usage("--build %q is not OS/ARCH=FILE", build)
	}
	p := &localProgram{path: path, build: release.Build{OS: goos, Arch: goarch}}
	p.name, p.once = fmt.Sprintf("muster-agent-%s-%s-%s.tar.gz", version, goos, goarch), true
	if err := p.pack(ctx, version); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *localProgram) pack(ctx context.Context, version string) error {
	info, err := os.Stat(p.path)
	if err != nil {
		return fmt.Errorf("open program: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 || info.Size() > release.MaxProgram {
		return fault.New(fault.Invalid, "%s is not a program of at most %s", p.path, size(release.MaxProgram))
	}
	program, err := os.ReadFile(p.path)
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	if p.file, err = os.CreateTemp("", "muster-*.tar.gz"); err != nil {
		return fmt.Errorf("make temporary file: %w", err)
	}
	p.temp = true
	if err := archive.PackProgram(p.file, release.ProgramName(p.build.OS), bytes.NewReader(program), int64(len(program))); err != nil {
		return err
	}
	if err := p.measure(ctx); err != nil {
		return err
	}
	sum := sha256.Sum256(program)
	p.build.Archive, p.build.Size, p.build.SHA256 = p.meta, int64(len(program)), hex.EncodeToString(sum[:])
	p.saysVersion = bytes.Contains(program, []byte(version))
	return nil
}
