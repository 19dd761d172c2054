// Package text cleans and cuts what devices say, before anything is kept of it: so that no device draws over
// other lines of a terminal, turns the direction of a page's text, or fills the database.
//
// The functions keep nothing and take any bytes. What they return is valid UTF-8. Every feature that takes
// text from devices calls them.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line drops control and format characters and what is not UTF-8, makes one line of several, and trims it.
func Line(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch r {
		case '\n', '\t', '\r', '\u2028', '\u2029': // the last two end a line, too
			return ' '
		case utf8.RuneError:
			return -1
		default:
			return printable(r)
		}
	}, s))
}

// Clean is Line, cut to n characters.
func Clean(s string, n int) string {
	s = Line(s)
	if len(s) > n {
		if runes := []rune(s); len(runes) > n {
			s = strings.TrimSpace(string(runes[:n]))
		}
	}
	return s
}

// Block keeps the lines and tabs of a text of several lines, such as what a command wrote; otherwise it drops
// what Line drops, and shows where something was not UTF-8.
func Block(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '\n', '\t':
			return r
		case '\u2028', '\u2029':
			return '\n'
		default:
			return printable(r)
		}
	}, s)
}

func printable(r rune) rune {
	if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
		return -1
	}
	return r
}

// Cut keeps the first n bytes, without a torn character at the end.
func Cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Tail keeps the last n bytes, without a torn character at the beginning, and shows where something was not
// UTF-8.
func Tail(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	start := len(s) - n
	for start < len(s) && !utf8.RuneStart(s[start]) {
		start++
	}
	return s[start:]
}
