package inventory_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/event"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/inventory"
	"github.com/muster/muster/server/internal/servertest"
	"github.com/muster/muster/server/internal/software"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

// env is the feature over a database, with devices in it.
type env struct {
	t         testing.TB
	db        *store.DB
	inventory *inventory.Service
	software  *software.Service
	events    *event.Service

	mu    sync.Mutex
	heard []hub.Event
}

func newEnv(t testing.TB, db *store.DB) *env {
	e := &env{t: t, db: db}
	log := slog.New(slog.DiscardHandler)
	notify := func(h hub.Event) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.heard = append(e.heard, h)
	}
	e.events = event.New(event.Options{DB: db, Log: log, Notify: notify})
	e.software = software.New(software.Options{DB: db, Log: log})
	e.inventory = inventory.New(inventory.Options{DB: db, Software: e.software, Notify: notify, Spread: e.events.Spread})
	return e
}

// device makes one.
func (e *env) device(hostname string) inventory.Device {
	e.t.Helper()
	now := store.Now()
	id := uuid.NewString()
	require.NoError(e.t, e.db.Table("devices").Create(map[string]any{
		"id": id, "state": protocol.DeviceActive, "hostname": hostname, "os": "linux", "os_name": "", "os_version": "", "arch": "",
		"agent_version": "", "nonce": hash(id), "secret_sha256": hash(id), "next_sha256": "", "machine_id": "", "seen_machine_id": "",
		"instance_id": "", "past_instances": "", "quarantine_reason": "", "trust_version": 1, "facts": "{}", "facts_changed_at": now,
		"token_id": id, "enrolled_from": "", "enrolled_at": now, "last_seen_at": now, "updated_at": now,
	}).Error)
	return inventory.Device{ID: id, Hostname: hostname}
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// head names sections; a section without data has a problem.
func head(sections map[string]string) protocol.InventoryHead {
	h := protocol.InventoryHead{Protocol: 1, CollectedAt: time.Now()}
	for name, data := range sections {
		s := protocol.SectionHead{Name: name, SHA256: hash(data), Rows: strings.Count(data, "\n"), Bytes: int64(len(data))}
		if data == "" {
			s = protocol.SectionHead{Name: name, Problem: "the \x1b[31mdisk is\x00 on fire"}
		}
		h.Sections = append(h.Sections, s)
	}
	return h
}

// send sends an inventory as an agent does and returns what was wanted.
func (e *env) send(d inventory.Device, sections map[string]string) []string {
	e.t.Helper()
	answer, err := e.inventory.Head(context.Background(), d, head(sections))
	require.NoError(e.t, err)
	for _, name := range answer.Want {
		require.NoError(e.t, e.put(d, name, sections[name]), name)
	}
	return answer.Want
}

func (e *env) put(d inventory.Device, section, data string) error {
	e.t.Helper()
	return e.inventory.Put(context.Background(), d, inventory.Upload{
		Section: section, SHA256: hash(data), CollectedAt: time.Now(), Packed: servertest.Gzip(e.t, []byte(data)),
	})
}

// told lists the events of a device, oldest first, as "kind subject: former -> present".
func (e *env) told(d inventory.Device) []string {
	e.t.Helper()
	found, err := e.events.List(context.Background(), event.Filter{DeviceID: d.ID, Limit: 1000})
	require.NoError(e.t, err)
	out := []string{}
	for _, f := range slices.Backward(found) {
		require.Equal(e.t, d.Hostname, f.Hostname)
		require.NotEmpty(e.t, f.Message)
		out = append(out, fmt.Sprintf("%s %s: %s -> %s", f.Kind, f.Subject, f.Former, f.Present))
	}
	return out
}

func (e *env) lines(rows ...any) string {
	return string(servertest.Lines(e.t, rows...))
}

func row(key string) protocol.Row { return protocol.Row{Key: key, Name: strings.ToUpper(key)} }

func program(name, version string) protocol.Software {
	return protocol.Software{
		Row: protocol.Row{Key: "pkg:deb/debian/" + name + "@" + version + "?arch=amd64", Name: name}, Version: version, Arch: "amd64", Source: "dpkg",
	}
}

func TestInventory_sendsOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		d := e.device("pc")
		sections := map[string]string{
			"cpus":    e.lines(protocol.CPU{Row: row("socket-0"), Cores: 2}),
			"system":  e.lines(protocol.System{Row: protocol.Row{Key: "system", Name: "pc"}, OSName: "Debian", OSVersion: "12"}),
			"gadgets": `{"key":"a","wheels":3}` + "\n",
			"users":   "",
		}
		require.Equal(t, []string{"cpus", "gadgets", "system"}, e.send(d, sections))
		require.Empty(t, e.send(d, sections), "the server has all of it")
		sections["cpus"] = e.lines(protocol.CPU{Row: row("socket-0"), Cores: 4})
		require.Equal(t, []string{"cpus"}, e.send(d, sections))
		require.NoError(t, e.put(d, "cpus", sections["cpus"]), "the same again changes nothing")

		s, err := e.inventory.Get(t.Context(), d.ID)
		require.NoError(t, err)
		require.Len(t, s.Sections, 4)
		require.Equal(t, "Debian", s.System.OSName)
		users := s.Sections[3]
		require.Equal(t, "the [31mdisk is on fire", users.Problem)
		require.Nil(t, users.CollectedAt)
		_, rows, err := e.inventory.Rows(t.Context(), d.ID, "gadgets", "", "", 10)
		require.NoError(t, err)
		require.Equal(t, "3", fmt.Sprint(rows[0]["wheels"]))

		// What the server keeps in another way than it would today is asked for again.
		require.NoError(t, db.Exec("UPDATE inventory_sections SET cleaning = 0 WHERE section = 'system'").Error)
		require.Equal(t, []string{"system"}, e.send(d, sections))
		require.Empty(t, e.send(d, sections))

		// A section that fails keeps its rows and says why; what it had is not sent again.
		cpus := sections["cpus"]
		sections["cpus"] = ""
		require.Empty(t, e.send(d, sections))
		section, rows, err := e.inventory.Rows(t.Context(), d.ID, "cpus", "", "", 10)
		require.NoError(t, err)
		require.Len(t, rows, 1)
		require.Contains(t, section.Problem, "on fire")
		sections["cpus"] = cpus
		require.Empty(t, e.send(d, sections))
		section, _, err = e.inventory.Rows(t.Context(), d.ID, "cpus", "", "", 10)
		require.NoError(t, err)
		require.Empty(t, section.Problem)

		e.mu.Lock()
		defer e.mu.Unlock()
		require.Contains(t, e.heard, hub.Event{Type: "inventory", ID: d.ID, DeviceID: d.ID})
	})
}

func TestInventory_refusesWhatNobodyNamed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		d := e.device("pc")
		require.Equal(t, fault.Conflict, fault.CodeOf(e.put(d, "cpus", "")))
		_, err := e.inventory.Head(t.Context(), inventory.Device{ID: uuid.NewString()}, head(map[string]string{"cpus": "x\n"}))
		require.Equal(t, fault.NotFound, fault.CodeOf(err))
		_, err = e.inventory.Head(t.Context(), d, head(map[string]string{"No Section": "x\n"}))
		require.Equal(t, fault.Invalid, fault.CodeOf(err))
		_, err = e.inventory.Get(t.Context(), uuid.NewString())
		require.Equal(t, fault.NotFound, fault.CodeOf(err))
		_, _, err = e.inventory.Rows(t.Context(), d.ID, "cpus", "", "", 1)
		require.Equal(t, fault.NotFound, fault.CodeOf(err))
	})
}

// A device that names ever new sections does not fill the database; one that no inventory names any more is
// removed after a month, with what followed from it.
func TestInventory_boundsAndForgetsSections(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		d := e.device("pc")
		for i := range 3 {
			many := map[string]string{}
			for j := range 40 {
				many[fmt.Sprintf("s%d-%d", i, j)] = ""
			}
			e.send(d, many)
		}
		s, err := e.inventory.Get(t.Context(), d.ID)
		require.NoError(t, err)
		require.Len(t, s.Sections, protocol.MaxSections)

		d = e.device("other")
		e.send(d, map[string]string{"software": e.lines(program("curl", "1")), "cpus": e.lines(protocol.CPU{Row: row("socket-0")})})
		e.send(d, map[string]string{"users": e.lines(protocol.User{Row: row("ann")})}) // of one section only
		s, err = e.inventory.Get(t.Context(), d.ID)
		require.NoError(t, err)
		require.Len(t, s.Sections, 3)
		require.NoError(t, db.Exec("UPDATE inventory_sections SET named_at = ? WHERE section = 'software'", store.Now().Add(-31*24*time.Hour)).Error)
		e.send(d, map[string]string{"users": e.lines(protocol.User{Row: row("ann")})})
		s, err = e.inventory.Get(t.Context(), d.ID)
		require.NoError(t, err)
		require.Len(t, s.Sections, 2)
		has, err := e.software.OfDevice(t.Context(), d.ID, software.DeviceFilter{Limit: 10})
		require.NoError(t, err)
		require.Empty(t, has)
		require.Equal(t, []string{"first_inventory :  -> "}, e.told(d), "nothing was uninstalled")
	})
}

// module sends the rows of a module as an agent does, and returns whether they were wanted.
func (e *env) module(d inventory.Device, name, data string, columns ...protocol.Column) bool {
	e.t.Helper()
	section := protocol.ModuleSection(name)
	h := head(map[string]string{section: data})
	h.Sections[0].Columns = columns
	answer, err := e.inventory.Head(context.Background(), d, h)
	require.NoError(e.t, err)
	if len(answer.Want) > 0 {
		require.NoError(e.t, e.put(d, section, data))
	}
	return len(answer.Want) > 0
}

// The rows of a module stay what its columns say, whatever columns it names later, and go when the device
// has the module no more.
func TestInventory_keepsRowsOfModulesWithTheirColumns(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		d := e.device("pc")
		port := protocol.Column{Name: "port", Title: "P\x1bort", Type: protocol.ColumnInteger}
		data := `{"key":"a","name":"A","port":22}` + "\n"
		require.True(t, e.module(d, "ports", data, port))
		require.False(t, e.module(d, "ports", data, port), "the server has them")
		require.Empty(t, e.told(d), "it was no inventory of the computer")

		section, rows, err := e.inventory.Rows(t.Context(), d.ID, "module-ports", "", "", 10)
		require.NoError(t, err)
		require.Equal(t, []protocol.Column{{Name: "port", Title: "Port", Type: protocol.ColumnInteger}}, section.Columns)
		require.Equal(t, "22", fmt.Sprint(rows[0]["port"]))

		// Other columns: the same rows are wanted again, and those that are kept keep the columns that they fit.
		wide := []protocol.Column{port, {Name: "program", Type: protocol.ColumnText}}
		h := head(map[string]string{"module-ports": data})
		h.Sections[0].Columns = wide
		answer, err := e.inventory.Head(t.Context(), d, h)
		require.NoError(t, err)
		require.Equal(t, []string{"module-ports"}, answer.Want)
		section, _, err = e.inventory.Rows(t.Context(), d.ID, "module-ports", "", "", 10)
		require.NoError(t, err)
		require.Len(t, section.Columns, 1)
		require.NoError(t, e.put(d, "module-ports", data))
		require.False(t, e.module(d, "ports", data, wide...))

		// A failed run keeps rows and columns.
		e.send(d, map[string]string{"module-ports": ""})
		section, rows, err = e.inventory.Rows(t.Context(), d.ID, "module-ports", "", "", 10)
		require.NoError(t, err)
		require.Len(t, rows, 1)
		require.Len(t, section.Columns, 2)
		require.Contains(t, section.Problem, "on fire")

		// Rows that do not fit are refused.
		bad := `{"key":"a","name":"A","port":"many"}` + "\n"
		h = head(map[string]string{"module-ports": bad})
		h.Sections[0].Columns = wide
		_, err = e.inventory.Head(t.Context(), d, h)
		require.NoError(t, err)
		require.Equal(t, fault.Invalid, fault.CodeOf(e.put(d, "module-ports", bad)))

		e.send(d, map[string]string{"cpus": e.lines(protocol.CPU{Row: row("socket-0")})})
		require.Len(t, e.told(d), 1, "the first inventory")
		require.NoError(t, e.inventory.DeviceFacts(t.Context(), d.ID, protocol.Facts{Modules: []string{"module:ports"}}))
		s, err := e.inventory.Get(t.Context(), d.ID)
		require.NoError(t, err)
		require.Len(t, s.Sections, 2)
		require.NoError(t, e.inventory.DeviceFacts(t.Context(), d.ID, protocol.Facts{Modules: []string{"module:other"}}))
		s, err = e.inventory.Get(t.Context(), d.ID)
		require.NoError(t, err)
		require.Len(t, s.Sections, 1)
		require.Equal(t, "cpus", s.Sections[0].Name)
	})
}

// All that one device may have of the database is bounded, whatever its sections are called.
func TestInventory_refusesTooMuchOfOneDevice(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		d := e.device("pc")
		e.send(d, map[string]string{"a": "", "b": "", "c": "", "d": "", "e": "", "f": "", "g": ""})
		full := bytes.Repeat([]byte("x"), 3<<20)
		require.NoError(t, db.Exec("UPDATE inventory_sections SET content = ? WHERE section <> 'c'", full).Error)
		data := e.lines(row("x"))
		e.send(e.device("other"), map[string]string{"c": data})
		_, err := e.inventory.Head(t.Context(), d, head(map[string]string{"b": data, "c": data}))
		require.NoError(t, err)
		err = e.put(d, "c", data)
		require.Equal(t, fault.TooLarge, fault.CodeOf(err), "%v", err)
		require.NoError(t, e.put(d, "b", data), "which takes the place of what was large")
		require.NoError(t, e.put(d, "c", data))
	})
}

func TestInventory_tellsWhatChanged(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		d := e.device("pc")
		system := protocol.System{Row: protocol.Row{Key: "system", Name: "pc"}, OSName: "Debian", OSVersion: "12", Kernel: "6.1", AgentVersion: "1.0"}
		sections := map[string]string{
			"system": e.lines(system),
			"memory": e.lines(
				protocol.MemorySlot{Row: row("slot-0"), Bytes: 8 << 30, Type: "DDR5", Serial: "a"},
				protocol.MemorySlot{Row: row("slot-1"), Bytes: 8 << 30, Type: "DDR5", Serial: "b"},
				protocol.MemorySlot{Row: row("slot-2")}),
			"interfaces": e.lines(protocol.Interface{Row: row("eth0"), Type: "ethernet", MAC: "aa", Addresses: []string{"10.0.0.1/8"}}),
			"software":   e.lines(program("bash", "5"), program("curl", "1")),
		}
		e.send(d, sections)
		require.Equal(t, []string{"first_inventory :  -> "}, e.told(d), "the first inventory is a baseline")

		system.Kernel, system.AgentVersion = "6.2", "1.1"
		sections["system"] = e.lines(system)
		sections["memory"] = e.lines(
			protocol.MemorySlot{Row: row("slot-0"), Bytes: 16 << 30, Type: "DDR5", Serial: "c"},
			protocol.MemorySlot{Row: row("slot-1")},
			protocol.MemorySlot{Row: row("slot-2"), Bytes: 512 << 20, Serial: "d"})
		sections["interfaces"] = e.lines(
			protocol.Interface{Row: row("eth0"), Type: "ethernet", MAC: "aa", Addresses: []string{"10.0.0.2/8"}},
			protocol.Interface{Row: row("veth7"), Type: "virtual", Virtual: true, Addresses: []string{}})
		sections["software"] = e.lines(program("curl", "2"), program("vim", "9"))
		e.send(d, sections)
		told := e.told(d)[1:]
		slices.Sort(told)
		require.Equal(t, []string{
			"agent_updated agent: 1.0 -> 1.1",
			"hardware_added SLOT-2:  -> 512 MiB d",
			"hardware_changed SLOT-0: 8 GiB DDR5 a -> 16 GiB DDR5 c",
			"hardware_removed SLOT-1: 8 GiB DDR5 b -> ",
			"software_added vim:  -> 9",
			"software_removed bash: 5 -> ",
			"software_updated curl: 1 -> 2",
			"system_changed kernel: 6.1 -> 6.2",
		}, told)
	})
}

// An upgrade of a whole system is a few events, not thousands; the history has all of it.
func TestInventory_sumsUpMany(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		d := e.device("pc")
		list := func(version string) string {
			var rows []any
			for i := range 60 {
				rows = append(rows, program(fmt.Sprintf("p%02d", i), version))
			}
			return e.lines(rows...)
		}
		e.send(d, map[string]string{"software": list("1")})
		e.send(d, map[string]string{"software": list("2")})
		require.Equal(t, []string{"first_inventory :  -> ", "software_updated :  -> 60"}, e.told(d))
		history, err := e.software.DeviceHistory(t.Context(), d.ID, "", 100)
		require.NoError(t, err)
		require.Len(t, history, 60)
	})
}

func TestInventory_watchesDisks(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		d := e.device("pc")
		disks := func(home int64, others ...any) map[string]string {
			return map[string]string{"filesystems": e.lines(append([]any{protocol.Filesystem{Row: row("/home"), Bytes: 100 << 30, FreeBytes: home << 30}}, others...)...)}
		}
		e.send(d, disks(50,
			protocol.Filesystem{Row: row("/mnt/cd"), Bytes: 700 << 20, ReadOnly: true},
			protocol.Filesystem{Row: row("/mnt/net"), Bytes: 1 << 40, Remote: true},
			protocol.Filesystem{Row: row("/proc")}))
		for _, free := range []int64{10, 9, 8, 11, 9, 12, 11, 9} { // free percent
			e.send(d, disks(free))
		}
		require.Equal(t, []string{
			"first_inventory :  -> ",
			"disk_low /home:  -> 9 % free", "disk_recovered /home:  -> 12 % free", "disk_low /home:  -> 9 % free",
		}, e.told(d))

		// A disk that is gone is forgotten, and told of again when it comes back as full as it was.
		e.send(d, map[string]string{"filesystems": e.lines(protocol.Filesystem{Row: row("/"), Bytes: 1 << 30, FreeBytes: 1 << 30})})
		e.send(d, disks(1))
		require.Len(t, e.told(d), 5)

		other := e.device("other")
		e.send(other, disks(0))
		require.Equal(t, []string{"first_inventory :  -> ", "disk_low /home:  -> 0 % free"}, e.told(other), "also the first inventory tells of a full disk")
	})
}

// A backup of one kind of database restores into the other with all that inventories brought.
func TestInventory_movesBetweenDatabases(t *testing.T) {
	t.Parallel()
	for from, to := range map[string]string{store.SQLite: store.MySQL, store.MySQL: store.SQLite} {
		t.Run(from+" to "+to, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, storetest.Open(t, from))
			d := e.device("pc")
			sections := map[string]string{"software": e.lines(program("curl", "1")), "cpus": e.lines(protocol.CPU{Row: row("socket-0")})}
			e.send(d, sections)
			var dump bytes.Buffer
			require.NoError(t, e.db.Dump(t.Context(), &dump))
			db, err := store.Open(t.Context(), storetest.URL(t, to), slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			defer func() { require.NoError(t, db.Close()) }()
			require.NoError(t, db.Load(t.Context(), &dump))
			moved := newEnv(t, db)
			require.Empty(t, moved.send(d, sections))
			_, rows, err := moved.inventory.Rows(t.Context(), d.ID, "cpus", "", "", 5)
			require.NoError(t, err)
			require.Len(t, rows, 1)
			sections["software"] = e.lines(program("curl", "2"), program("zsh", "5"))
			moved.send(d, sections)
			require.Equal(t, []string{"first_inventory :  -> ", "software_updated curl: 1 -> 2", "software_added zsh:  -> 5"}, moved.told(d))
		})
	}
}

// benchmark: the lists of devices with 3,000 programs each, then an upgrade of 100 of them.
func BenchmarkPut_software(b *testing.B) {
	for _, dialect := range storetest.Dialects() {
		for name, change := range map[string]int{"first": 0, "upgrade of 100": 100} {
			b.Run(dialect+"/"+name, func(b *testing.B) {
				const programs = 3000
				e := newEnv(b, storetest.Open(b, dialect))
				list := func(version string, changed int) string {
					var rows []any
					for i := range programs {
						v := "1.0"
						if i < changed {
							v = version
						}
						rows = append(rows, program(fmt.Sprintf("program-%04d", i), v))
					}
					return e.lines(rows...)
				}
				first := list("", 0)
				e.send(e.device("seed"), map[string]string{"software": first})
				d := e.device("pc")
				e.send(d, map[string]string{"software": first})
				b.ResetTimer()
				for i := range b.N {
					b.StopTimer()
					data := first
					if change == 0 {
						d = e.device(fmt.Sprint("pc", i))
					} else {
						data = list(fmt.Sprint("2.", i), change)
					}
					answer, err := e.inventory.Head(context.Background(), d, head(map[string]string{"software": data}))
					require.NoError(b, err)
					require.Len(b, answer.Want, 1)
					packed := servertest.Gzip(b, []byte(data))
					b.StartTimer()
					require.NoError(b, e.inventory.Put(context.Background(), d, inventory.Upload{
						Section: "software", SHA256: hash(data), CollectedAt: time.Now(), Packed: packed,
					}))
				}
				b.ReportMetric(float64(programs*b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

func TestClean_inventoriesOfDevicesThatAreGone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		stays, gone := e.device("stays"), e.device("gone")
		cpus := e.lines(protocol.CPU{Row: protocol.Row{Key: "socket-0", Name: "X1"}})
		for _, d := range []inventory.Device{stays, gone} {
			e.send(d, map[string]string{protocol.SectionCPUs: cpus})
		}
		require.NoError(t, db.Exec("UPDATE devices SET state = 'removed' WHERE id = ?", gone.ID).Error)
		now := store.Now()
		sections := func(d inventory.Device) (n int64) {
			require.NoError(t, db.Table("inventory_sections").Where("device_id = ?", d.ID).Count(&n).Error)
			return n
		}
		require.NoError(t, e.inventory.Clean(t.Context(), now.Add(89*24*time.Hour)))
		require.EqualValues(t, 1, sections(gone))
		require.NoError(t, e.inventory.Clean(t.Context(), now.Add(91*24*time.Hour)))
		require.Zero(t, sections(gone))
		require.EqualValues(t, 1, sections(stays))
	})
}
