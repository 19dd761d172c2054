package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/muster/muster/packages/instruction"
)

// conditionFields shows what a document says beside its archive and command. Whoever adds a field to
// the document adds it here: an author must see all that is signed.
func conditionFields(doc *instruction.Instruction) []field {
	fields := []field{{"Time limit", (time.Duration(doc.TimeLimitSeconds) * time.Second).String()}}
	for _, k := range slices.Sorted(maps.Keys(doc.Env)) {
		fields = append(fields, field{"Environment", k + "=" + doc.Env[k]})
	}
	for _, e := range doc.ExitCodes {
		fields = append(fields, field{"Exit code", fmt.Sprintf("%d is %s", e.Code, e.Outcome)})
	}
	fields = append(fields, detectionFields(doc.Detect)...)
	if r := doc.Requires; r != nil {
		fields = append(fields, field{"Only on", strings.Join(append(slices.Clone(r.OS), r.Arch...), ", ")})
		if r.MinDiskBytes > 0 {
			fields = append(fields, field{"Free disk", size(r.MinDiskBytes)})
		}
		if r.MinMemoryBytes > 0 {
			fields = append(fields, field{"Memory", size(r.MinMemoryBytes)})
		}
		fields = append(fields, field{"Agent", r.MinAgent})
	}
	if r := doc.Retry; r != nil {
		fields = append(fields, field{"Attempts", fmt.Sprintf("%d, first pause %ds", r.Attempts, r.DelaySeconds)})
	}
	if doc.Rerun != "" {
		fields = append(fields, field{"Run again", string(doc.Rerun)})
	}
	if doc.NeedsCleanBoot {
		fields = append(fields, field{"Needs clean boot", "yes"})
	}
	if doc.Private {
		fields = append(fields, field{"Private", "yes"})
	}
	return fields
}

func detectionFields(d *instruction.Detection) []field {
	switch {
	case d == nil:
		return nil
	case d.Software != nil:
		return []field{{"Detect software", strings.TrimSpace(d.Software.Name + " " + d.Software.Version)}}
	case d.File != nil:
		return []field{{"Detect file", strings.TrimSpace(d.File.Path + " " + d.File.SHA256)}}
	default:
		return []field{{"Detect by command", quoteArgs(d.Command)}}
	}
}
