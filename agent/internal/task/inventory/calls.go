package inventory

import (
	"net"
	"net/netip"
	"strings"
)

// addresses asks the system for the addresses of its network interfaces.
func addresses() (map[string][]netip.Prefix, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	found := map[string][]netip.Prefix{}
	for _, i := range interfaces {
		list, err := i.Addrs()
		if err != nil { // it went away meanwhile
			continue
		}
		for _, a := range list {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			ip, ok := netip.AddrFromSlice(n.IP)
			if !ok {
				continue
			}
			ones, _ := n.Mask.Size()
			found[i.Name] = append(found[i.Name], netip.PrefixFrom(ip.Unmap(), ones))
		}
	}
	return found, nil
}

// culprit is the function in which a panic began, by its stack.
func culprit(stack []byte) string {
	_, rest, ok := strings.Cut(string(stack), "\npanic(")
	if !ok {
		return "an unknown place"
	}
	for line := range strings.Lines(rest) {
		if at, ok := strings.CutPrefix(line, "\t"); ok && !strings.Contains(at, "/runtime/") {
			at, _, _ = strings.Cut(strings.TrimSpace(at), " +")
			return at[strings.LastIndexByte(at, '/')+1:]
		}
	}
	return "an unknown place"
}
