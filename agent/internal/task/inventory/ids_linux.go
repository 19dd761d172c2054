package inventory

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/muster/muster/agent/internal/sysread"
)

// maxIDs bounds a file of device names; pci.ids has 1.5 MB.
const maxIDs = 16 << 20

// wantedIDs are the numbers whose names are wanted. Only those are kept of a file.
type wantedIDs struct {
	names map[string]string
}

// newWantedIDs has no numbers yet. Keys are "v 8086", "p 8086 15f3", "c 02" and "s 0200".
func newWantedIDs() *wantedIDs { return &wantedIDs{names: map[string]string{}} }

func (w *wantedIDs) add(vendor, product, class string) {
	for _, k := range []string{"v " + vendor, "p " + vendor + " " + product, "c " + class[:2], "s " + class[:4]} {
		w.names[k] = ""
	}
}

func (w *wantedIDs) vendor(id string) string          { return w.names["v "+id] }
func (w *wantedIDs) product(vendor, id string) string { return w.names["p "+vendor+" "+id] }

// class is the name of class and subclass by their hex digits.
func (w *wantedIDs) class(id string) string {
	if s := w.names["s "+id[:4]]; s != "" {
		return s
	}
	return w.names["c "+id[:2]]
}

// deviceNames looks the numbers up in the first of the files that is there. Without one there are no
// names, which is no error.
func (h *host) deviceNames(files []string, wanted *wantedIDs) (*wantedIDs, error) {
	if len(wanted.names) == 0 {
		return wanted, nil
	}
	for _, file := range files {
		st, err := os.Stat(h.Path(file))
		if err != nil || !st.Mode().IsRegular() {
			continue
		}
		f, err := os.Open(h.Path(file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return wanted, fmt.Errorf("read the names of devices: %w", err)
		}
		err = readIDs(io.LimitReader(f, maxIDs), wanted)
		f.Close()
		if err != nil {
			return wanted, fmt.Errorf("read the names of devices: %w", err)
		}
		return wanted, nil
	}
	return wanted, nil
}

// readIDs reads the format of pci.ids and usb.ids (pci-ids.ucw.cz): "8086  Intel Corporation", below it
// with a tab its devices; "C 02  Network controller", below it its subclasses. It streams: a line that is
// wanted becomes a name, others cost nothing.
func readIDs(r io.Reader, wanted *wantedIDs) error {
	reader := bufio.NewReaderSize(r, 32<<10)
	var kind byte // v or c; 0 in lists of other things
	var above []byte
	key := make([]byte, 0, 16)
	take := func(k []byte, name []byte) bool {
		old, ok := wanted.names[string(k)] // no copy is made
		if ok && old == "" {
			wanted.names[string(k)] = sysread.Clean(string(name))
		}
		return ok
	}
	for {
		line, err := reader.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) { // no line is that long
			kind = 0
			continue
		}
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case len(line) == 0 || line[0] == '#':
		case line[0] != '\t':
			kind, above = 0, above[:0]
			if len(line) > 6 && hexDigits(line[:4]) && line[4] == ' ' {
				key = append(append(key[:0], "v "...), line[:4]...)
				if take(key, line[4:]) {
					kind, above = 'v', append(above, line[:4]...)
				}
			} else if len(line) > 5 && line[0] == 'C' && line[1] == ' ' && hexDigits(line[2:4]) {
				key = append(append(key[:0], "c "...), line[2:4]...)
				if take(key, line[4:]) {
					kind, above = 'c', append(above, line[2:4]...)
				}
			}
		case kind == 'v' && len(line) > 6 && line[1] != '\t' && hexDigits(line[1:5]):
			key = append(append(append(append(key[:0], "p "...), above...), ' '), line[1:5]...)
			take(key, line[5:])
		case kind == 'c' && len(line) > 4 && line[1] != '\t' && hexDigits(line[1:3]):
			key = append(append(append(key[:0], "s "...), above...), line[1:3]...)
			take(key, line[3:])
		}
		if last {
			return nil
		}
	}
}

func hexDigits(s []byte) bool {
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
