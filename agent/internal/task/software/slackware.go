package software

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/muster/muster/packages/protocol"
)

// slackwareDirs hold one file a package, named NAME-VERSION-ARCH-BUILD; the second is the older place,
// nowadays a link to the first.
var slackwareDirs = []string{"var/lib/pkgtools/packages", "var/log/packages"}

func readSlackware(s *scan) error {
	var problems []error
	for _, dir := range slackwareDirs {
		names, err := s.tree.names(dir)
		problems = append(problems, err)
		for _, file := range names {
			parts := strings.Split(file, "-")
			if len(parts) < 4 || s.ctx.Err() != nil {
				continue
			}
			last := len(parts) - 3
			name := strings.Join(parts[:last], "-")
			data, err := s.head(dir + "/" + file)
			if missing(err) {
				continue
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("read package %.60q: %w", file, err))
			}
			size, summary := parseSlackware(data, name)
			version := parts[last] + "-" + parts[last+2]
			row := protocol.Software{
				Row: protocol.Row{Name: name}, Version: version, Arch: parts[last+1], Summary: summary, SizeBytes: size,
				Essential: strings.HasPrefix(name, "aaa_") || name == "pkgtools" || name == "sysvinit" || name == "bash",
			}
			if info, err := s.tree.stat(dir + "/" + file); err == nil {
				row.InstalledAt = seconds(info.ModTime().Unix())
			}
			s.add(Ref{Name: name, Version: version, Arch: parts[last+1]}, row)
		}
		if s.found {
			break
		}
	}
	return joinSome(problems)
}

// head reads the beginning of a file.
func (s *scan) head(name string) ([]byte, error) {
	file, _, err := s.tree.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data := make([]byte, 4<<10)
	n, err := file.Read(data)
	if n > 0 {
		return data[:n], nil
	}
	return nil, errors.Join(err)
}

// parseSlackware reads the head of a package's file: its unpacked size, as "5.2M", and what stands in
// parentheses in the first line of its description.
func parseSlackware(data []byte, name string) (size int64, summary string) {
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if value, ok := strings.CutPrefix(line, "UNCOMPRESSED PACKAGE SIZE:"); ok {
			size = humanSize(strings.TrimSpace(value))
		}
		if value, ok := strings.CutPrefix(line, name+": "); ok && summary == "" {
			if _, text, ok := strings.Cut(value, "("); ok {
				summary = strings.TrimSuffix(strings.TrimSpace(text), ")")
			} else {
				summary = value
			}
		}
	}
	return size, summary
}

// humanSize reads sizes as 640K, 5.2M or 1.1G; without a letter they are KiB.
func humanSize(text string) int64 {
	unit := float64(1 << 10)
	for letter, factor := range map[string]float64{"K": 1 << 10, "M": 1 << 20, "G": 1 << 30} {
		if rest, ok := strings.CutSuffix(strings.TrimSpace(text), letter); ok {
			text, unit = rest, factor
			break
		}
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(n) || n < 0 || n > 1<<30 {
		return 0
	}
	return int64(n * unit)
}
