package protocol

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/muster/muster/packages/fault"
)

// Credential formats the bearer value by which a device identifies itself at every contact.
func Credential(deviceID, secret string) string {
	return AuthorizationPrefix + deviceID + "_" + secret
}

// ParseCredential takes a bearer value apart. The secret is 64 lower-case hex digits.
func ParseCredential(bearer string) (deviceID, secret string, ok bool) {
	rest, ok := strings.CutPrefix(bearer, AuthorizationPrefix)
	if !ok {
		return "", "", false
	}
	deviceID, secret, ok = strings.Cut(rest, "_")
	if !ok || len(deviceID) != 36 || !IsSHA256(secret) {
		return "", "", false
	}
	return deviceID, secret, true
}

// HashSecret is what a server keeps of a secret: lower-case hex SHA-256 of its text.
func HashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// IsSHA256 reports whether s is 64 lower-case hex digits.
func IsSHA256(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

const enrollmentPrefix = "MUSTER1-"

// maxEnrollment bounds an enrollment string, in bytes.
const maxEnrollment = 8 << 10

// Enrollment is what an enrollment string carries: where the server is, the right to join, and by
// which fingerprints to know the server's CA and root key.
type Enrollment struct {
	URLs  []string `json:"u"` // https addresses, tried in order
	Token string   `json:"t"`
	CA    string   `json:"c"` // SHA-256 of the CA certificate (DER), hex
	Root  string   `json:"r"` // key id of the root key: SHA-256 of the raw Ed25519 public key, hex
}

// String is the enrollment string: one word that survives copy and paste.
func (e Enrollment) String() string {
	b, err := json.Marshal(e)
	if err != nil { // strings always marshal
		return ""
	}
	return enrollmentPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParseEnrollment reads an enrollment string. Every error is a fault of code invalid.
func ParseEnrollment(s string) (Enrollment, error) {
	var e Enrollment
	s = strings.TrimSpace(s)
	rest, ok := strings.CutPrefix(s, enrollmentPrefix)
	if !ok || len(s) > maxEnrollment {
		return e, fault.New(fault.Invalid, "not an enrollment string: it starts with %q and is at most %d bytes long", enrollmentPrefix, maxEnrollment)
	}
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil {
		return e, fault.New(fault.Invalid, "the enrollment string is damaged: copy it again, whole")
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return e, fault.New(fault.Invalid, "the enrollment string is damaged: copy it again, whole")
	}
	if len(e.URLs) == 0 || len(e.URLs) > 16 || e.Token == "" || !IsSHA256(e.CA) || !IsSHA256(e.Root) {
		return e, fault.New(fault.Invalid, "the enrollment string lacks an address, token or fingerprint: make a new one")
	}
	for _, u := range e.URLs {
		p, err := url.Parse(u)
		if err != nil || p.Scheme != "https" || p.Host == "" {
			return e, fault.New(fault.Invalid, "the enrollment string names %q, which is not an https address", u)
		}
	}
	return e, nil
}
