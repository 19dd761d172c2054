package software

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
)

// TestRef writes keys as the tests of the specification (package-url/purl-spec, tests/types) write them.
func TestRef(t *testing.T) {
	t.Parallel()
	for key, ref := range map[string]Ref{
		"pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=jessie":                                           {Source: "dpkg", Namespace: "debian", Name: "curl", Version: "7.50.3-1", Arch: "i386", Qualifiers: map[string]string{"distro": "jessie"}},
		"pkg:deb/ubuntu/dpkg@1.19.0.4?arch=amd64":                                                        {Source: "dpkg", Namespace: "ubuntu", Name: "dpkg", Version: "1.19.0.4", Arch: "amd64"},
		"pkg:deb/debian/attr@1:2.4.47-2%2Bb1?arch=amd64":                                                 {Source: "dpkg", Namespace: "debian", Name: "attr", Version: "1:2.4.47-2+b1", Arch: "amd64"},
		"pkg:rpm/fedora/curl@7.50.3-1.fc25?arch=i386&distro=fedora-25":                                   {Source: "rpm", Namespace: "fedora", Name: "curl", Version: "7.50.3-1.fc25", Arch: "i386", Qualifiers: map[string]string{"distro": "fedora-25"}},
		"pkg:rpm/centerim@4.22.10-1.el6?arch=i686&distro=fedora-25&epoch=1":                              {Source: "rpm", Name: "centerim", Version: "4.22.10-1.el6", Arch: "i686", Qualifiers: map[string]string{"epoch": "1", "distro": "fedora-25"}},
		"pkg:npm/%40angular/animation@12.3.1":                                                            {Source: "npm", Namespace: "@angular", Name: "animation", Version: "12.3.1"},
		"pkg:pypi/django@1.11.1":                                                                         {Source: "pip", Name: "django", Version: "1.11.1"},
		"pkg:gem/ruby-advisory-db-check@0.12.4":                                                          {Source: "gem", Name: "ruby-advisory-db-check", Version: "0.12.4"},
		"pkg:alpm/arch/python-pip@21.0-1?arch=any":                                                       {Source: "pacman", Namespace: "arch", Name: "python-pip", Version: "21.0-1", Arch: "any"},
		"pkg:apk/alpine/apk@2.12.9-r3?arch=x86":                                                          {Source: "apk", Namespace: "alpine", Name: "apk", Version: "2.12.9-r3", Arch: "x86"},
		"pkg:generic/openssl@1.1.10g?download_url=https://openssl.org/openssl-1.1.0g.tar.gz&source=x":    {Source: "x", Name: "openssl", Version: "1.1.10g", Qualifiers: map[string]string{"download_url": "https://openssl.org/openssl-1.1.0g.tar.gz"}},
		"pkg:generic/Caf%C3%A9%20%2F%20Bar%3F@1%402%231?arch=a%26b&id=%7B5F%2C%7D%5C1%25&source=windows": {Source: "windows", Name: "Café / Bar?", Version: "1@2#1", Arch: "a&b", Qualifiers: map[string]string{"id": `{5F,}\1%`}},
	} {
		require.Equal(t, key, ref.String())
		got, err := Parse(key)
		require.NoError(t, err, key)
		require.Equal(t, ref, got)
	}
	require.Equal(t, "pkg:deb/debian/curl@1", Ref{Source: "dpkg", Namespace: "Debian", Name: "CURL", Version: "1"}.String())
	require.Equal(t, "pkg:pypi/typing-extensions@4", Ref{Source: "pip", Name: "Typing_Extensions", Version: "4"}.String())
}

func TestParse_refuses(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"", "pkg:", "pkg:deb", "pkg:deb/", "pkg:deb/debian/", "curl", "pkg:cargo/rand@0.7.2", "pkg:generic/openssl@1",
		"pkg:deb/debian/curl@1?arch=amd64#src", "pkg:deb/debian/curl@1?arch=amd64&arch=i386", "PKG:deb/debian/curl@1",
		"pkg:deb//curl@1", "pkg:deb/debian/cu rl@1", "pkg:deb/debian/c%75rl@1", "pkg:deb/debian/curl@%zz", "pkg:deb/debian/curl@1?",
		"pkg:deb/debian/curl@1?z=1&arch=amd64", "pkg:deb/Debian/curl@1",
	} {
		_, err := Parse(key)
		require.Equal(t, fault.Invalid, fault.CodeOf(err), "%q: %v", key, err)
	}
}

// FuzzParse: what is taken is what would have been written.
func FuzzParse(f *testing.F) {
	f.Add("pkg:deb/debian/attr@1:2.4.47-2%2Bb1?arch=amd64")
	f.Add("pkg:generic/a%2Fb@1?arch=x&id=%7B&source=windows")
	f.Add("pkg:npm/%40angular/animation@12.3.1")
	f.Fuzz(func(t *testing.T, key string) {
		ref, err := Parse(key)
		if err == nil {
			require.Equal(t, key, ref.String())
		}
	})
}

// FuzzRef: a row of any name and version has a key that can be taken apart again.
func FuzzRef(f *testing.F) {
	f.Add("dpkg", "debian", "curl", "1:7-2+b1", "amd64")
	f.Add("flatpak", "", "org.x.Y", "", "x/y%")
	f.Add("npm", "@a", "/b/", "1", "")
	f.Fuzz(func(t *testing.T, source, namespace, name, version, arch string) {
		ref := Ref{Source: source, Namespace: namespace, Name: name, Version: version, Arch: arch}
		key := ref.String()
		again, err := Parse(key)
		if err == nil {
			require.Equal(t, key, again.String())
			require.Equal(t, version, again.Version)
			require.Equal(t, arch, again.Arch)
		}
	})
}
