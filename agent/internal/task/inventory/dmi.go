//go:build linux || windows

package inventory

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

// Limits of the firmware's table: real ones have some 10 KB and 100 structures.
const (
	maxDMI           = 1 << 20
	maxDMIStructures = 4096
)

// dmiStructure is one structure of the table that DSP0134 (SMBIOS 3.7, section 6.1) describes: a formatted
// area, which begins with type, length and handle, and strings that it names by numbers from 1.
type dmiStructure struct {
	kind    byte
	handle  uint16
	data    []byte
	strings [][]byte
}

// dmiTable is what the firmware says.
type dmiTable struct {
	structures []dmiStructure
	// oldUUID says that the table is older than SMBIOS 2.6 and its UUID in the network's order of bytes.
	oldUUID bool
}

var errDMI = errors.New("the firmware's table (SMBIOS) is damaged; what comes before the damage is told")

// parseDMI reads a table. entry is its entry point, which tells its version; it may be empty. What could
// be read is returned beside an error.
func parseDMI(table, entry []byte) (*dmiTable, error) {
	t := &dmiTable{oldUUID: oldDMI(entry)}
	for len(table) >= 4 {
		length := int(table[1])
		if length < 4 || length > len(table) || len(t.structures) == maxDMIStructures {
			return t, errDMI
		}
		s := dmiStructure{kind: table[0], handle: binary.LittleEndian.Uint16(table[2:]), data: table[:length]}
		rest := table[length:]
		end := bytes.Index(rest, []byte{0, 0})
		if end < 0 {
			return t, errDMI
		}
		if end > 0 {
			s.strings = bytes.Split(rest[:end], []byte{0})
		}
		t.structures = append(t.structures, s)
		table = rest[end+2:]
		if s.kind == 127 { // end of the table
			return t, nil
		}
	}
	if len(table) > 0 {
		return t, errDMI
	}
	return t, nil
}

// parseRawDMI reads what Windows returns: four bytes of which the second and third are the version, the
// table's length, and the table (RawSMBIOSData of GetSystemFirmwareTable).
func parseRawDMI(data []byte) (*dmiTable, error) {
	if len(data) < 8 {
		return &dmiTable{}, errDMI
	}
	length := uint64(binary.LittleEndian.Uint32(data[4:]))
	table := data[8:]
	if length < uint64(len(table)) {
		table = table[:length]
	}
	return parseDMI(table, []byte{'_', 'S', 'M', '_', 0, 0, data[1], data[2]})
}

// oldDMI tells by the entry point (sections 5.2.1 and 5.2.2) whether a table is older than version 2.6.
func oldDMI(entry []byte) bool {
	if len(entry) < 8 || !bytes.HasPrefix(entry, []byte("_SM_")) {
		return false
	}
	return entry[6] < 2 || entry[6] == 2 && entry[7] < 6
}

// text is the string whose number stands at the offset, if it says something.
func (s *dmiStructure) text(offset int) string {
	if offset >= len(s.data) {
		return ""
	}
	n := int(s.data[offset])
	if n == 0 || n > len(s.strings) {
		return ""
	}
	return sysread.Meant(string(s.strings[n-1]))
}

func (s *dmiStructure) u8(offset int) int {
	if offset >= len(s.data) {
		return 0
	}
	return int(s.data[offset])
}

func (s *dmiStructure) u16(offset int) int {
	if offset+2 > len(s.data) {
		return 0
	}
	return int(binary.LittleEndian.Uint16(s.data[offset:]))
}

func (s *dmiStructure) u32(offset int) int64 {
	if offset+4 > len(s.data) {
		return 0
	}
	return int64(binary.LittleEndian.Uint32(s.data[offset:]))
}

// first is the first structure of a type; one without content when there is none.
func (t *dmiTable) first(kind byte) *dmiStructure {
	for i := range t.structures {
		if t.structures[i].kind == kind {
			return &t.structures[i]
		}
	}
	return &dmiStructure{kind: kind}
}

// bios are types 0 (firmware), 1 (system), 2 (board) and 3 (chassis).
func (t *dmiTable) bios() protocol.BIOS {
	firmware, system, board, chassis := t.first(0), t.first(1), t.first(2), t.first(3)
	b := protocol.BIOS{
		Vendor: firmware.text(0x04), Version: firmware.text(0x05), Date: firmwareDate(firmware.text(0x08)),
		Manufacturer: system.text(0x04), Product: system.text(0x05), Serial: system.text(0x07), UUID: t.uuid(system), ProductNumber: system.text(0x19),
		BoardVendor: board.text(0x04), BoardProduct: board.text(0x05), BoardSerial: board.text(0x07),
		ChassisSerial: chassis.text(0x07), AssetTag: chassis.text(0x08),
	}
	name(&b, system.text(0x06))
	return b
}

// name gives the row its key and what people call the computer. version is the field of the product's
// version: Lenovo writes the name there, and a number of the type as the product.
func name(b *protocol.BIOS, version string) {
	product := b.Product
	if strings.EqualFold(b.Manufacturer, "lenovo") && version != "" {
		product = version
	}
	if product == "" {
		product = b.BoardProduct
	}
	b.Key, b.Name = "bios", strings.TrimSpace(b.Manufacturer+" "+product)
	if b.Manufacturer != "" && strings.HasPrefix(strings.ToLower(product), strings.ToLower(b.Manufacturer)) {
		b.Name = product
	}
}

// uuid writes the 16 bytes as section 7.2.1 says: since version 2.6 the first three fields are little endian.
func (t *dmiTable) uuid(system *dmiStructure) string {
	if len(system.data) < 0x18 {
		return ""
	}
	var u [16]byte
	copy(u[:], system.data[0x08:0x18])
	if !t.oldUUID {
		u[0], u[1], u[2], u[3] = u[3], u[2], u[1], u[0]
		u[4], u[5], u[6], u[7] = u[5], u[4], u[7], u[6]
	}
	return sysread.UUID(fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16]))
}

// firmwareDate turns the American date of firmware into one that sorts.
func firmwareDate(s string) string {
	for _, layout := range []string{"01/02/2006", "01/02/06", "2006-01-02", "20060102"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.Format(time.DateOnly)
		}
	}
	return s
}

// processors are the sockets that have a processor (type 4), in the order of the table.
func (t *dmiTable) processors() []protocol.CPU {
	found := []protocol.CPU{}
	for i := range t.structures {
		s := &t.structures[i]
		if s.kind != 4 || s.u8(0x05) != 3 || s.u8(0x18)&0x40 == 0 { // a central one, and there
			continue
		}
		c := protocol.CPU{Vendor: cpuMaker(s.text(0x07)), Cores: s.u8(0x23), Threads: s.u8(0x25), MHz: s.u16(0x14)}
		if c.Cores == 0xff {
			c.Cores = s.u16(0x2A)
		}
		if c.Threads == 0xff {
			c.Threads = s.u16(0x2E)
		}
		c.Key = fmt.Sprintf("socket-%d", len(found))
		c.Name = strings.Join(strings.Fields(s.text(0x10)), " ")
		found = append(found, c)
	}
	return found
}

// cpuMaker is the short name of a maker that processors and firmware name in several ways.
func cpuMaker(s string) string {
	switch s {
	case "GenuineIntel", "Intel(R) Corporation", "Intel Corporation", "Intel":
		return "Intel"
	case "AuthenticAMD", "Advanced Micro Devices, Inc.", "Advanced Micro Devices", "AMD":
		return "AMD"
	default:
		return s
	}
}

// memoryTypes are those of section 7.18.2.
var memoryTypes = map[int]string{
	0x03: "DRAM", 0x07: "RAM", 0x0F: "SDRAM", 0x11: "RDRAM", 0x12: "DDR", 0x13: "DDR2", 0x14: "DDR2 FB-DIMM", 0x18: "DDR3", 0x1A: "DDR4", 0x1B: "LPDDR", 0x1C: "LPDDR2",
	0x1D: "LPDDR3", 0x1E: "LPDDR4", 0x20: "HBM", 0x21: "HBM2", 0x22: "DDR5", 0x23: "LPDDR5", 0x24: "HBM3",
}

// memoryMakers are numbers of JEDEC JEP106 that some firmware gives instead of a name.
var memoryMakers = map[string]string{
	"80CE": "Samsung", "00CE": "Samsung", "80AD": "SK Hynix", "00AD": "SK Hynix", "802C": "Micron", "002C": "Micron", "0198": "Kingston", "029E": "Corsair",
	"04CD": "G.Skill", "859B": "Crucial", "04CB": "ADATA", "830B": "Nanya", "80C1": "Infineon", "0B86": "Winbond",
}

// memory are the places for modules (type 17) of the arrays of main memory (type 16).
func (t *dmiTable) memory() []protocol.MemorySlot {
	other := map[int]bool{} // handles of arrays of another use
	for i := range t.structures {
		if s := &t.structures[i]; s.kind == 16 && s.u8(0x05) != 3 {
			other[int(s.handle)] = true
		}
	}
	found := []protocol.MemorySlot{}
	for i := range t.structures {
		s := &t.structures[i]
		if s.kind != 17 || other[s.u16(0x04)] {
			continue
		}
		where := s.text(0x10)
		if where == "" {
			where = s.text(0x11)
		}
		if where == "" {
			where = fmt.Sprintf("module %d", len(found))
		}
		m := protocol.MemorySlot{Row: protocol.Row{Key: where, Name: where}, Bytes: s.memorySize()}
		if bank := s.text(0x11); bank != "" && bank != where {
			m.Key = where + "/" + bank
		}
		if m.Bytes > 0 {
			m.Type, m.MHz = memoryTypes[s.u8(0x12)], s.memorySpeed()
			m.Manufacturer, m.Serial, m.PartNumber = s.text(0x17), s.text(0x18), s.text(0x1A)
			if len(m.Manufacturer) >= 4 {
				if maker := memoryMakers[strings.ToUpper(m.Manufacturer[:4])]; maker != "" {
					m.Manufacturer = maker
				}
			}
		}
		found = append(found, m)
	}
	return found
}

// memorySize is in bytes (7.18.1): in MB, in KB with the highest bit, or in a field of its own.
func (s *dmiStructure) memorySize() int64 {
	switch n := int64(s.u16(0x0C)); {
	case n == 0xffff: // unknown
		return 0
	case n == 0x7fff:
		return (s.u32(0x1C) & 0x7fffffff) << 20
	case n&0x8000 != 0:
		return (n & 0x7fff) << 10
	default:
		return n << 20
	}
}

// memorySpeed is how fast the module runs, in MT/s, which people call MHz; else how fast it could.
func (s *dmiStructure) memorySpeed() int {
	for _, field := range [][2]int{{0x20, 0x58}, {0x15, 0x54}} {
		n := s.u16(field[0])
		if n == 0xffff {
			n = int(s.u32(field[1]) & 0x7fffffff)
		}
		if n > 0 && n < 100_000 {
			return n
		}
	}
	return 0
}
