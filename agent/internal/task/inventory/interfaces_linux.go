package inventory

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/muster/muster/packages/protocol"
)

// findInterfaces lists the network interfaces of /sys/class/net. Ends of containers' cables on their host
// are left out: they come and go with each container.
func findInterfaces(_ context.Context, h *host) ([]protocol.Interface, error) {
	all, err := h.addresses()
	if err != nil {
		err = fmt.Errorf("ask for the addresses: %w", err)
	}
	temporary := temporaryAddresses(h.Bytes("proc/net/if_inet6"))
	gateways := gateways4(h.Bytes("proc/net/route"))
	for name, list := range gateways6(h.Bytes("proc/net/ipv6_route")) {
		gateways[name] = append(gateways[name], list...)
	}
	found := []protocol.Interface{}
	for _, name := range h.Names("sys/class/net") {
		dir := "sys/class/net/" + name + "/"
		if !h.Exists(dir+"ifindex") || h.cableEnd(name) {
			continue
		}
		i := protocol.Interface{
			Row: protocol.Row{Key: name, Name: name}, Type: h.interfaceType(name), Up: h.up(dir),
			MTU: h.number(dir + "mtu"), Mbps: h.number(dir + "speed"), Driver: path.Base(h.Link(dir + "device/driver")),
			Virtual: !h.Exists(dir + "device"), Addresses: []string{}, Gateways: gateways[name],
		}
		if i.Driver == "." {
			i.Driver = ""
		}
		if mac := h.Line(dir + "address"); strings.Trim(mac, "0:") != "" {
			i.MAC = mac
		}
		if i.Mbps > 10_000_000 { // some drivers say 4294967295
			i.Mbps = 0
		}
		for _, a := range all[name] {
			if !temporary[a.Addr().WithZone("")] {
				i.Addresses = append(i.Addresses, a.String())
			}
		}
		slices.Sort(i.Addresses)
		slices.Sort(i.Gateways)
		i.Gateways = slices.Compact(i.Gateways)
		found = append(found, i)
	}
	return found, err
}

// cableEnd reports whether an interface is a container's cable seen from its host.
func (h *host) cableEnd(name string) bool {
	dir := "sys/class/net/" + name + "/"
	return strings.HasPrefix(name, "veth") && !h.Exists(dir+"device") && h.Line(dir+"iflink") != h.Line(dir+"ifindex")
}

// up is an interface that is switched on and, as far as it can tell, has a carrier.
func (h *host) up(dir string) bool {
	flags, err := strconv.ParseUint(h.Line(dir+"flags"), 0, 32)
	if err != nil || flags&1 == 0 { // IFF_UP
		return false
	}
	switch h.Line(dir + "operstate") {
	case "up", "unknown", "":
		return true
	default:
		return false
	}
}

// number reads a file with one number; 0 for what is none, negative or beyond 32 bits.
func (h *host) number(path string) int {
	n, err := strconv.ParseUint(h.Line(path), 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// interfaceType names the kind of an interface by the folders that its driver makes, DEVTYPE, and the
// number of its hardware (if_arp.h).
func (h *host) interfaceType(name string) string {
	dir := "sys/class/net/" + name + "/"
	switch {
	case h.Exists(dir + "wireless"), h.Exists(dir + "phy80211"):
		return "wireless"
	case h.Exists(dir + "bridge"):
		return "bridge"
	case h.Exists(dir + "bonding"):
		return "bond"
	case h.Exists(dir + "tun_flags"):
		return "tun"
	}
	for line := range strings.Lines(string(h.Bytes(dir + "uevent"))) {
		kind, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVTYPE=")
		if !ok {
			continue
		}
		switch kind {
		case "wlan":
			return "wireless"
		case "bridge", "bond", "vlan", "wwan", "vxlan", "wireguard", "macvlan", "team", "bluetooth":
			return kind
		}
	}
	switch h.Line(dir + "type") {
	case "1":
		if !h.Exists(dir + "device") {
			return "virtual"
		}
		return "ethernet"
	case "772":
		return "loopback"
	case "32":
		return "infiniband"
	case "512":
		return "ppp"
	case "65534", "768", "769", "776", "778":
		return "tunnel"
	default:
		return "other"
	}
}

// temporaryAddresses are the addresses that IPv6 privacy extensions (RFC 8981) change each day: lines of
// address, index, prefix length, scope, flags and name.
func temporaryAddresses(data []byte) map[netip.Addr]bool {
	found := map[netip.Addr]bool{}
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for scanner.Scan() {
		f := strings.Fields(scanner.Text())
		if len(f) < 6 {
			continue
		}
		flags, err := strconv.ParseUint(f[4], 16, 32)
		if ip, ok := hexAddr(f[0]); ok && err == nil && flags&0x01 != 0 { // IFA_F_TEMPORARY
			found[ip] = true
		}
	}
	return found
}

func hexAddr(s string) (netip.Addr, bool) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != 16 {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(raw)
}

// gateways4 reads the default routes of /proc/net/route: name, destination, gateway, flags, … The numbers
// are in the computer's own order of bytes; the order of the mask tells nothing, so little endian is taken,
// as of every system that the agent is built for.
func gateways4(data []byte) map[string][]string {
	found := map[string][]string{}
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for scanner.Scan() {
		f := strings.Fields(scanner.Text())
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		flags, err := strconv.ParseUint(f[3], 16, 32)
		if err != nil || flags&0x3 != 0x3 { // RTF_UP, RTF_GATEWAY
			continue
		}
		n, err := strconv.ParseUint(f[2], 16, 32)
		if err != nil {
			continue
		}
		found[f[0]] = append(found[f[0]], netip.AddrFrom4([4]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}).String())
	}
	return found
}

// gateways6 reads the default routes of /proc/net/ipv6_route: destination, prefix length, source, its
// prefix length, next hop, metric, references, use, flags, name.
func gateways6(data []byte) map[string][]string {
	found := map[string][]string{}
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for scanner.Scan() {
		f := strings.Fields(scanner.Text())
		if len(f) < 10 || f[1] != "00" || strings.Trim(f[0], "0") != "" {
			continue
		}
		if ip, ok := hexAddr(f[4]); ok && !ip.IsUnspecified() {
			found[f[9]] = append(found[f[9]], ip.String())
		}
	}
	return found
}
