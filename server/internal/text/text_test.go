package text_test

import (
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/text"
)

func TestText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, got, want string }{
		{"colours", text.Line("a\x1b[31mb\x00"), "a[31mb"},
		{"lines", text.Line("  one\ntwo\r\nthree\u2028four\t"), "one two  three four"},
		{"direction", text.Line("a\u202eb\u200b"), "ab"},
		{"not UTF-8", text.Line("a\xffb\ufffdc"), "abc"},
		{"characters", text.Clean("äöü", 2), "äö"},
		{"no blank at the end", text.Clean("ab cd", 3), "ab"},
		{"block", text.Block("a\n\tb\x1b[2J\r\xff\u2029"), "a\n\tb[2J\ufffd\n"},
		{"bytes", text.Cut("aäö", 2), "a"},
		{"all bytes", text.Cut("aä", 3), "aä"},
		{"none", text.Cut("ä", 0), ""},
		{"last bytes", text.Tail("äöa", 2), "a"},
		{"last bytes, torn", text.Tail("a\xff", 3), "\ufffd"},
	} {
		require.Equal(t, c.want, c.got, c.name)
	}
}

// Whatever a device says, what is kept is valid, bounded, and steers nothing.
func FuzzText(f *testing.F) {
	f.Add("a\x1b[31m\u202e\xff\n", 3)
	f.Add("\u2028é\ufffd", 2)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = max(0, min(n, 1<<16))
		clean := text.Clean(s, n)
		require.Equal(t, clean, text.Clean(clean, n))
		require.LessOrEqual(t, utf8.RuneCountInString(clean), n)
		for _, r := range clean {
			require.False(t, unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029')
		}
		for _, r := range text.Block(s) {
			require.True(t, r == '\n' || r == '\t' || !unicode.IsControl(r) && !unicode.Is(unicode.Cf, r))
		}
		for _, cut := range []string{text.Cut(s, n), text.Tail(s, n)} {
			require.LessOrEqual(t, len(cut), n)
			require.True(t, utf8.ValidString(cut))
		}
	})
}
