package protocol_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

func TestValidNames(t *testing.T) {
	t.Parallel()
	section, module := regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`), regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
	names := []string{"", "os", "a\n", "é", "aé"}
	for c := range 256 {
		names = append(names, string([]byte{byte(c)}), string([]byte{'a', byte(c)}), string([]byte{'a', byte(c), 'z'}))
	}
	for n := 30; n < 43; n++ {
		names = append(names, strings.Repeat("a", n))
	}
	for _, name := range names {
		require.Equal(t, section.MatchString(name), protocol.ValidSection(name), "section %q", name)
		require.Equal(t, module.MatchString(name), protocol.ValidModule(name), "module %q", name)
	}
}
