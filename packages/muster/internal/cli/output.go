package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.Out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints rows under a head, or v as JSON.
func (a *app) table(v any, head []string, rows [][]string) error {
	if a.json {
		return a.printJSON(v)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(a.Out, "none")
		return err
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		for i := range row {
			row[i] = clean(row[i])
		}
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// field is one line of details; empty values are left out.
type field struct{ name, value string }

func (a *app) details(v any, fields []field) error {
	if a.json {
		return a.printJSON(v)
	}
	return a.fields(fields)
}

func (a *app) fields(fields []field) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	for _, f := range fields {
		if f.value == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s:\t%s\n", f.name, clean(f.value)); err != nil {
			return err
		}
	}
	return w.Flush()
}

// say prints a line for people; with --json there is none.
func (a *app) say(format string, args ...any) {
	if !a.json {
		fmt.Fprintln(a.Out, clean(fmt.Sprintf(format, args...)))
	}
}

// note prints a line beside the output, on the error stream.
func (a *app) note(format string, args ...any) {
	fmt.Fprintln(a.Err, clean(fmt.Sprintf(format, args...)))
}

// clean keeps text from devices and servers from steering the terminal or forging lines.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == 0x2028 || r == 0x2029 || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return ' '
		}
		return r
	}, s)
}

// cleanBlock is clean for text of several lines.
func cleanBlock(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

// confirm asks a yes-or-no question on the terminal. Without one it is an error: scripts say --yes.
func (a *app) confirm(question string, yes bool) error {
	if yes {
		return nil
	}
	if !a.Terminal {
		return usage("%s: not asked because this is no terminal; say --yes to agree", question)
	}
	fmt.Fprintf(a.Err, "%s [y/N] ", clean(question))
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && line == "" {
		return fmt.Errorf("read answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	default:
		return fmt.Errorf("not confirmed, nothing was done")
	}
}

// count says how many there are of a thing whose plural ends in s.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

func when(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, u := float64(n), 0
	for f >= unit && u < 4 {
		f /= unit
		u++
	}
	return fmt.Sprintf("%.1f %ciB", f, " KMGT"[u])
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// quoteArgs shows an argument vector so that its elements can be told apart.
func quoteArgs(argv []string) string {
	out := make([]string, len(argv))
	for i, arg := range argv {
		out[i] = arg
		if arg == "" || strings.ContainsFunc(arg, func(r rune) bool {
			return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`"'\$&|;<>(){}*?!#~`+"`", r)
		}) {
			out[i] = fmt.Sprintf("%q", arg)
		}
	}
	return strings.Join(out, " ")
}
