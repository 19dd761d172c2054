package service

import (
	_ "embed"
	"strings"
)

// unitText is the unit of the packages.
//
//go:embed muster-agent.service
var unitText string

// The lines of the unit that depend on where the agent lies.
const (
	execLine  = "ExecStart=/usr/bin/muster-agent run\n"
	stateLine = "StateDirectory=muster-agent\nStateDirectoryMode=0700\n"
)

// unit is the unit's text for a program and a data directory.
func unit(o Options) string {
	start := "ExecStart=" + strings.ReplaceAll(quoteUnit(o.Program), "$$", "$") + " run" // the program's name is no place for variables
	text := unitText
	if !o.Default {
		start += " --data " + quoteUnit(o.Data)
		text = strings.Replace(text, stateLine, "", 1)
	}
	return strings.Replace(text, execLine, start+"\n", 1)
}

// quoteUnit makes one word of a unit's command line: systemd expands % and $ and takes backslashes as escapes,
// see systemd.service(5), COMMAND LINES.
func quoteUnit(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`).Replace(s) + `"`
}
