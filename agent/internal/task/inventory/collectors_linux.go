package inventory

import "github.com/muster/muster/packages/protocol"

// collectors of Linux, in the order in which they run.
var collectors = []collector{
	rows(protocol.SectionSystem, findSystem),
	rows(protocol.SectionCPUs, findCPUs),
	rows(protocol.SectionInterfaces, findInterfaces),
}
