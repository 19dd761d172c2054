package inventory

import "github.com/muster/muster/packages/protocol"

// collectors of Linux, in the order in which they run.
var collectors = []collector{
	rows(protocol.SectionSystem, findSystem),
	rows(protocol.SectionBIOS, findBIOS),
	rows(protocol.SectionCPUs, findCPUs),
	rows(protocol.SectionMemory, findMemory),
	rows(protocol.SectionStorage, findDisks),
	rows(protocol.SectionFilesystems, findFilesystems),
	rows(protocol.SectionInterfaces, findInterfaces),
	rows(protocol.SectionControllers, findControllers),
	rows(protocol.SectionMonitors, findMonitors),
	rows(protocol.SectionBatteries, findBatteries),
	rows(protocol.SectionUsers, findUsers),
	rows(protocol.SectionSessions, findSessions),
	rows(protocol.SectionProcesses, findProcesses),
}
