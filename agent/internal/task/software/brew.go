package software

import (
	"encoding/json"
	"fmt"
	"path"

	"github.com/muster/muster/packages/protocol"
)

// brewDirs are Homebrew's prefixes on Linux and on Macs of either kind.
var brewDirs = []string{"home/linuxbrew/.linuxbrew", "opt/homebrew", "usr/local"}

// readBrew reads Homebrew's folders (https://docs.brew.sh/Formula-Cookbook#homebrew-terminology): a kegs'
// receipt says when it was installed; several versions of a formula may stand beside each other.
func readBrew(s *scan) error {
	var problems []error
	for _, prefix := range brewDirs {
		for _, kind := range []string{"Cellar", "Caskroom"} {
			names, err := s.tree.names(path.Join(prefix, kind))
			problems = append(problems, err)
			for _, name := range names {
				versions, err := s.tree.names(path.Join(prefix, kind, name))
				problems = append(problems, err)
				for _, version := range versions {
					if version[0] == '.' || s.ctx.Err() != nil { // .metadata of a cask
						continue
					}
					problems = append(problems, s.addBrew(path.Join(prefix, kind, name, version), name, version, kind))
				}
			}
		}
	}
	return joinSome(problems)
}

func (s *scan) addBrew(dir, name, version, kind string) error {
	if !s.tree.isDir(dir) {
		return nil
	}
	row := protocol.Software{Row: protocol.Row{Name: name}, Version: version}
	ref := Ref{Name: name, Version: version}
	if kind == "Caskroom" {
		ref.Qualifiers = map[string]string{"kind": "cask"}
	}
	data, err := s.tree.read(dir + "/INSTALL_RECEIPT.json")
	var receipt brewReceipt
	if err == nil {
		receipt, err = parseReceipt(data)
	}
	row.Publisher, row.Arch, row.InstalledAt = receipt.Source.Tap, receipt.Arch, seconds(int64(receipt.Time))
	ref.Arch = row.Arch
	s.add(ref, row)
	if err != nil && !missing(err) {
		return fmt.Errorf("read the receipt of %.60q: %w", name, err)
	}
	return nil
}

// brewReceipt is what of a keg's receipt counts here.
type brewReceipt struct {
	Time   float64 `json:"time"`
	Arch   string  `json:"arch"`
	Source struct {
		Tap string `json:"tap"`
	} `json:"source"`
}

func parseReceipt(data []byte) (brewReceipt, error) {
	var r brewReceipt
	if err := json.Unmarshal(data, &r); err != nil {
		return brewReceipt{}, err
	}
	return r, nil
}
