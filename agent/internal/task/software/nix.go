package software

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/muster/muster/packages/protocol"
)

// nixDir is the profile for all users.
const nixDir = "nix/var/nix/profiles"

// readNix reads the manifest of the computer's default profile, as `nix profile` writes it. What NixOS
// itself consists of stands in no list.
func readNix(s *scan) error {
	name := path.Join(nixDir, "default/manifest.json")
	data, err := s.tree.read(name)
	if missing(err) {
		return nil
	}
	s.found = true
	var elements []nixElement
	if err == nil {
		elements, err = parseNix(data)
	}
	if err != nil {
		return fmt.Errorf("read /%s: %w", name, err)
	}
	for _, e := range elements {
		s.addNix(e)
	}
	return nil
}

func (s *scan) addNix(e nixElement) {
	for _, store := range e.StorePaths {
		name, version := splitStorePath(store)
		s.add(Ref{Name: name, Version: version}, protocol.Software{Row: protocol.Row{Name: name}, Version: version, Publisher: e.OriginalURL})
	}
}

type nixElement struct {
	Active      *bool    `json:"active"`
	StorePaths  []string `json:"storePaths"`
	OriginalURL string   `json:"originalUrl"`
}

// parseNix reads a manifest of versions 1 to 3: a list of elements, later an object of them.
func parseNix(data []byte) ([]nixElement, error) {
	var manifest struct {
		Elements json.RawMessage `json:"elements"`
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, err
	}
	var all []nixElement
	if strings.HasPrefix(strings.TrimSpace(string(manifest.Elements)), "{") {
		named := map[string]nixElement{}
		if err := json.Unmarshal(manifest.Elements, &named); err != nil {
			return nil, err
		}
		for _, e := range named {
			all = append(all, e)
		}
	} else if len(manifest.Elements) > 0 {
		if err := json.Unmarshal(manifest.Elements, &all); err != nil {
			return nil, err
		}
	}
	kept := all[:0]
	for _, e := range all {
		if e.Active == nil || *e.Active {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

// splitStorePath takes /nix/store/HASH-name-1.2.3 apart: the version begins at the first dash that no
// letter follows.
func splitStorePath(store string) (name, version string) {
	_, name, _ = strings.Cut(path.Base(store), "-")
	return splitVersion(name)
}

// splitVersion splits name-1.2.3 at the first dash before a digit.
func splitVersion(text string) (name, version string) {
	for i := 1; i+1 < len(text); i++ {
		if text[i] == '-' && text[i+1] >= '0' && text[i+1] <= '9' {
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}
