package protocol

import (
	"strings"
	"time"

	"github.com/muster/muster/packages/fault"
)

// Limits of an inventory.
const (
	MaxInventoryHead = 64 << 10 // bytes of an InventoryHead
	MaxSections      = 64       // sections in one
	MaxSectionBytes  = 16 << 20 // bytes of one section's lines, unpacked
	MaxSectionRows   = 50_000   // rows of one section
	MaxRow           = 16 << 10 // bytes of one row
)

// SectionContentType is the media type of a section: one JSON object a line, each line ended by a line
// feed, in the order of their keys. It is always sent with Content-Encoding: gzip.
const SectionContentType = "application/x-ndjson"

// The sections that this version knows. A server keeps a section that it does not know as it came.
const (
	SectionSystem      = "system"      // System, one row
	SectionBIOS        = "bios"        // BIOS, one row
	SectionCPUs        = "cpus"        // CPU, one a socket
	SectionMemory      = "memory"      // MemorySlot
	SectionStorage     = "storage"     // Disk
	SectionFilesystems = "filesystems" // Filesystem
	SectionInterfaces  = "interfaces"  // Interface
	SectionControllers = "controllers" // Controller
	SectionMonitors    = "monitors"    // Monitor
	SectionBatteries   = "batteries"   // Battery
	SectionUsers       = "users"       // User, local accounts
	SectionSessions    = "sessions"    // LoginSession, who is logged in
	SectionSoftware    = "software"    // Software
	SectionProcesses   = "processes"   // Process; only where the device's configuration asks for it
)

const maxSectionName = 40

// ValidSection reports whether a section may have the name: a small letter, then small letters, digits,
// dash and underscore, 40 in all at most.
func ValidSection(name string) bool { return len(name) <= maxSectionName && plainName(name) }

// modulePrefix begins the names of sections that modules from outside fill.
const modulePrefix = "module-"

const maxModuleName = 32

// ValidModule reports whether a module may have the name: as a section, but at most 32 characters.
func ValidModule(name string) bool { return len(name) <= maxModuleName && plainName(name) }

// plainName is no regular expression because the resident agent, whose memory counts, would keep it all its life.
func plainName(name string) bool {
	for i, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '_' && c != '-') {
			return false
		}
	}
	return name != ""
}

// ModuleSection is the section that a module fills.
func ModuleSection(module string) string { return modulePrefix + module }

// SectionModule is the module that fills the section, if one does.
func SectionModule(section string) (module string, ok bool) {
	module, ok = strings.CutPrefix(section, modulePrefix)
	return module, ok && ValidModule(module)
}

// Types of a Column.
const (
	ColumnText    = "text"
	ColumnInteger = "integer"
	ColumnNumber  = "number"
	ColumnBoolean = "boolean"
	ColumnTime    = "time"  // RFC 3339
	ColumnBytes   = "bytes" // an integer, shown as a size
)

// Bounds of columns.
const (
	MaxColumns     = 32
	maxColumnTitle = 80 // bytes
)

// Column describes a field that the rows of a module's section have beside key and name.
type Column struct {
	Name  string `json:"name"` // of the field: a small letter, then small letters, digits and underscore
	Title string `json:"title,omitempty"`
	Type  string `json:"type"`
}

// ValidateColumns checks the columns of a section. Every error is a fault of code invalid.
func ValidateColumns(columns []Column) error {
	if len(columns) > MaxColumns {
		return fault.Field("columns", "%d columns; at most %d are taken", len(columns), MaxColumns)
	}
	seen := map[string]bool{"key": true, "name": true}
	for _, c := range columns {
		switch c.Type {
		case ColumnText, ColumnInteger, ColumnNumber, ColumnBoolean, ColumnTime, ColumnBytes:
		default:
			return fault.Field("columns", "column %.40q has the type %.40q, which is none", c.Name, c.Type)
		}
		if !ValidSection(c.Name) || strings.Contains(c.Name, "-") || seen[c.Name] || len(c.Title) > maxColumnTitle {
			return fault.Field("columns", "column %.60q has no valid name or title, or is there twice", c.Name)
		}
		seen[c.Name] = true
	}
	return nil
}

// InventoryHead says what an inventory found, section by section, without the rows. The server answers
// which of them it does not have, so that only what changed is sent, and what a server lost comes again.
type InventoryHead struct {
	Protocol    int           `json:"protocol"`
	CollectedAt time.Time     `json:"collected_at"` // the device's clock
	DurationMS  int64         `json:"duration_ms"`
	Sections    []SectionHead `json:"sections"`
}

// SectionHead is one section of an InventoryHead.
type SectionHead struct {
	Name string `json:"name"`
	// SHA256 is of the section's lines, hex; empty when there are none because of Problem.
	SHA256 string `json:"sha256,omitempty"`
	Rows   int    `json:"rows"`
	Bytes  int64  `json:"bytes"`
	// Problem says why the section, or a part of it, could not be collected. Without a digest the server
	// keeps the rows that it has.
	Problem string `json:"problem,omitempty"`
	// Columns describe the rows of a module's section; other sections have none.
	Columns []Column `json:"columns,omitempty"`
}

// InventoryAnswer names the sections that the server does not have with that digest. The device then puts
// each, one request a section, at PathInventory/{name}?sha256=…&collected_at=… (RFC 3339). Where some of the
// rows could not be collected, &incomplete=… names the sources of Software that are not whole, separated by
// commas: what the server has of them stays until they are.
type InventoryAnswer struct {
	Want []string `json:"want"`
}

// Validate checks names, digests and bounds. Every error is a fault of code invalid or too_large.
func (h *InventoryHead) Validate() error {
	if len(h.Sections) > MaxSections {
		return fault.New(fault.TooLarge, "an inventory of %d sections; at most %d are taken", len(h.Sections), MaxSections)
	}
	seen := map[string]bool{}
	for _, s := range h.Sections {
		switch {
		case !ValidSection(s.Name):
			return fault.Field("sections", "%.60q is not the name of a section", s.Name)
		case seen[s.Name]:
			return fault.Field("sections", "section %s is there twice", s.Name)
		case s.SHA256 != "" && !IsSHA256(s.SHA256), s.SHA256 == "" && s.Problem == "":
			return fault.Field("sections", "section %s has neither a SHA-256 digest nor a problem", s.Name)
		case s.Rows < 0 || s.Rows > MaxSectionRows || s.Bytes < 0 || s.Bytes > MaxSectionBytes:
			return fault.New(fault.TooLarge, "section %s has %d rows and %d bytes; at most %d and %d are taken",
				s.Name, s.Rows, s.Bytes, MaxSectionRows, MaxSectionBytes)
		}
		if err := ValidateColumns(s.Columns); err != nil {
			return err
		}
		seen[s.Name] = true
	}
	return nil
}

// Row is what every row of every section begins with.
type Row struct {
	// Key names the thing within its section, the same at every inventory as long as it is the same thing.
	Key string `json:"key"`
	// Name is what people call it.
	Name string `json:"name"`
}

// System is the computer as a whole. Key is "system", Name the host name.
type System struct {
	Row
	Domain         string     `json:"domain,omitempty"`
	OS             string     `json:"os"`         // GOOS
	OSName         string     `json:"os_name"`    // "Debian GNU/Linux"
	OSVersion      string     `json:"os_version"` // "12"
	OSID           string     `json:"os_id,omitempty"`
	Kernel         string     `json:"kernel"`
	Arch           string     `json:"arch"` // GOARCH
	MachineID      string     `json:"machine_id,omitempty"`
	Timezone       string     `json:"timezone,omitempty"`
	BootedAt       *time.Time `json:"booted_at,omitempty"`
	InstalledAt    *time.Time `json:"installed_at,omitempty"` // the operating system
	Virtualisation string     `json:"virtualisation,omitempty"`
	Chassis        string     `json:"chassis,omitempty"` // laptop, desktop, server, …
	MemoryBytes    int64      `json:"memory_bytes"`
	SwapBytes      int64      `json:"swap_bytes"`
	Init           string     `json:"init,omitempty"`
	AgentVersion   string     `json:"agent_version"`
}

// BIOS is the firmware and what it says of the computer. Key is "bios".
type BIOS struct {
	Row
	Vendor        string `json:"vendor,omitempty"`
	Version       string `json:"version,omitempty"`
	Date          string `json:"date,omitempty"` // 2024-03-01 where it can be told
	Manufacturer  string `json:"manufacturer,omitempty"`
	Product       string `json:"product,omitempty"`
	ProductNumber string `json:"product_number,omitempty"` // SKU
	Serial        string `json:"serial,omitempty"`
	UUID          string `json:"uuid,omitempty"`
	BoardVendor   string `json:"board_vendor,omitempty"`
	BoardProduct  string `json:"board_product,omitempty"`
	BoardSerial   string `json:"board_serial,omitempty"`
	ChassisSerial string `json:"chassis_serial,omitempty"`
	AssetTag      string `json:"asset_tag,omitempty"`
	UEFI          bool   `json:"uefi"`
	SecureBoot    bool   `json:"secure_boot"`
}

// CPU is one socket. Key is "socket-0".
type CPU struct {
	Row
	Vendor  string `json:"vendor,omitempty"`
	Arch    string `json:"arch,omitempty"`
	Cores   int    `json:"cores"`
	Threads int    `json:"threads"`
	MHz     int    `json:"mhz,omitempty"` // the highest, not the present one
}

// MemorySlot is a place for a memory module. An empty one has no bytes.
type MemorySlot struct {
	Row
	Bytes        int64  `json:"bytes"`
	Type         string `json:"type,omitempty"` // DDR5
	MHz          int    `json:"mhz,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	PartNumber   string `json:"part_number,omitempty"`
	Serial       string `json:"serial,omitempty"`
}

// Disk is a block device that is not a part of another one.
type Disk struct {
	Row
	Device    string `json:"device"` // /dev/sda
	Model     string `json:"model,omitempty"`
	Vendor    string `json:"vendor,omitempty"`
	Serial    string `json:"serial,omitempty"`
	Firmware  string `json:"firmware,omitempty"`
	Bytes     int64  `json:"bytes"`
	Type      string `json:"type,omitempty"`      // ssd, hdd, optical, …
	Interface string `json:"interface,omitempty"` // nvme, sata, usb, virtio, …
	Removable bool   `json:"removable"`
}

// Filesystem is a mounted file system on a disk or from the network. Key is where it is mounted.
type Filesystem struct {
	Row
	Device string `json:"device"`
	Type   string `json:"type"`
	Label  string `json:"label,omitempty"`
	UUID   string `json:"uuid,omitempty"`
	Bytes  int64  `json:"bytes"`
	// FreeBytes is for users without privileges, rounded down to a hundredth of Bytes, so that not every
	// inventory differs.
	FreeBytes   int64 `json:"free_bytes"`
	FreePercent int   `json:"free_percent"`
	ReadOnly    bool  `json:"read_only"`
	Remote      bool  `json:"remote"`
	Encrypted   bool  `json:"encrypted"`
}

// Interface is a network interface. Key is its name.
type Interface struct {
	Row
	MAC       string   `json:"mac,omitempty"`
	Type      string   `json:"type"` // ethernet, wireless, loopback, bridge, virtual, …
	Up        bool     `json:"up"`
	Addresses []string `json:"addresses"` // with prefix length
	Gateways  []string `json:"gateways,omitempty"`
	MTU       int      `json:"mtu"`
	Mbps      int      `json:"mbps,omitempty"`
	Driver    string   `json:"driver,omitempty"`
	Virtual   bool     `json:"virtual"`
}

// Controller is a PCI or USB device. Key is bus and address, as "pci-0000:00:1f.2".
type Controller struct {
	Row
	Bus       string `json:"bus"` // pci, usb
	Class     string `json:"class,omitempty"`
	Vendor    string `json:"vendor,omitempty"`
	VendorID  string `json:"vendor_id"`  // four hex digits
	ProductID string `json:"product_id"` // four hex digits
	Driver    string `json:"driver,omitempty"`
	Serial    string `json:"serial,omitempty"`
	Revision  string `json:"revision,omitempty"`
}

// Monitor is a screen that is connected.
type Monitor struct {
	Row
	Manufacturer string `json:"manufacturer,omitempty"`
	Serial       string `json:"serial,omitempty"`
	Year         int    `json:"year,omitempty"` // of its making
	WidthMM      int    `json:"width_mm,omitempty"`
	HeightMM     int    `json:"height_mm,omitempty"`
	Resolution   string `json:"resolution,omitempty"` // its native one, 1920x1080
	Connector    string `json:"connector,omitempty"`
}

// Battery is a computer's own battery.
type Battery struct {
	Row
	Manufacturer  string `json:"manufacturer,omitempty"`
	Serial        string `json:"serial,omitempty"`
	Technology    string `json:"technology,omitempty"`
	DesignMWh     int    `json:"design_mwh,omitempty"`
	FullMWh       int    `json:"full_mwh,omitempty"`
	HealthPercent int    `json:"health_percent,omitempty"`
	Cycles        int    `json:"cycles,omitempty"`
}

// User is a local account. Key is its name.
type User struct {
	Row
	UID      string   `json:"uid"`
	RealName string   `json:"real_name,omitempty"`
	Home     string   `json:"home,omitempty"`
	Shell    string   `json:"shell,omitempty"`
	Groups   []string `json:"groups,omitempty"` // beside the user's own
	System   bool     `json:"system"`           // not of a person
	Admin    bool     `json:"admin"`            // may become root or is an administrator
	Locked   bool     `json:"locked"`
}

// LoginSession is somebody who is logged in. Name is the user.
type LoginSession struct {
	Row
	Terminal string     `json:"terminal,omitempty"`
	From     string     `json:"from,omitempty"` // host
	Since    *time.Time `json:"since,omitempty"`
}

// Software is one installed program.
type Software struct {
	// Key is the program's unique id on its device: a package URL with version and qualifiers
	// (https://github.com/package-url/purl-spec) where its source has a registered type, as
	// "pkg:deb/debian/curl@7.88.1-10?arch=amd64", else one of the form "pkg:generic/…".
	Row
	Version     string     `json:"version"`
	Publisher   string     `json:"publisher,omitempty"`
	Summary     string     `json:"summary,omitempty"`
	Arch        string     `json:"arch,omitempty"` // in the words of its source
	Source      string     `json:"source"`         // dpkg, rpm, snap, flatpak, apk, pacman, …
	SizeBytes   int64      `json:"size_bytes,omitempty"`
	InstalledAt *time.Time `json:"installed_at,omitempty"`
	// Essential software is not uninstalled: the system would not work without it.
	Essential bool `json:"essential,omitempty"`
	// Condition is empty for what is installed as it should be, else what is wrong, as "half-configured".
	Condition string `json:"condition,omitempty"`
}

// Process is a running program. Key is its process id and start time.
type Process struct {
	Row
	PID     int        `json:"pid"`
	User    string     `json:"user,omitempty"`
	Command string     `json:"command,omitempty"`
	Started *time.Time `json:"started,omitempty"`
	RSS     int64      `json:"rss"`
}
