package inventory

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

// maxEDID bounds what is read of a screen's description: a block of 128 bytes and up to 255 more; the
// first holds what is told.
const maxEDID = 256 * 128

var (
	edidMagic = []byte{0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00}
	errEDID   = errors.New("the screen's description (EDID) is damaged")
)

// edid is what a screen says of itself.
type edid struct {
	maker   string // three letters
	product uint16
	monitor protocol.Monitor
}

// parseEDID reads the first block of a description (VESA E-EDID standard, release A2, section 3).
func parseEDID(data []byte) (*edid, error) {
	if len(data) < 128 || !bytes.HasPrefix(data, edidMagic) {
		return nil, errEDID
	}
	data = data[:128]
	var sum byte
	for _, b := range data {
		sum += b
	}
	if sum != 0 {
		return nil, errEDID
	}
	e := &edid{product: binary.LittleEndian.Uint16(data[10:])}
	id := binary.BigEndian.Uint16(data[8:]) // five bits a letter (3.4.1)
	for shift := 10; shift >= 0; shift -= 5 {
		letter := byte(id>>shift) & 0x1f
		if letter < 1 || letter > 26 {
			return nil, errEDID
		}
		e.maker += string('A' + letter - 1)
	}
	m := &e.monitor
	if n := binary.LittleEndian.Uint32(data[12:]); n != 0 && n != 0x01010101 && n != 0xffffffff {
		m.Serial = fmt.Sprint(n)
	}
	if data[17] > 0 {
		m.Year = 1990 + int(data[17])
	}
	m.WidthMM, m.HeightMM = int(data[21])*10, int(data[22])*10
	if data[21] == 0 || data[22] == 0 { // an aspect ratio, or a projector
		m.WidthMM, m.HeightMM = 0, 0
	}
	for at := 54; at < 126; at += 18 {
		e.descriptor(data[at:at+18], at == 54)
	}
	return e, nil
}

// descriptor reads one of the four of 18 bytes (3.10): a timing, of which the first is the native one, or a
// text.
func (e *edid) descriptor(d []byte, first bool) {
	m := &e.monitor
	if d[0] != 0 || d[1] != 0 {
		if !first {
			return
		}
		width, height := int(d[2])|int(d[4]&0xf0)<<4, int(d[5])|int(d[7]&0xf0)<<4
		if width > 0 && height > 0 {
			m.Resolution = fmt.Sprintf("%dx%d", width, height)
		}
		if w, h := int(d[12])|int(d[14]&0xf0)<<4, int(d[13])|int(d[14]&0x0f)<<8; w > 0 && h > 0 {
			m.WidthMM, m.HeightMM = w, h // in mm where the block's own are in cm
		}
		return
	}
	text, _, _ := bytes.Cut(d[5:], []byte{'\n'})
	switch d[3] {
	case 0xff:
		if s := sysread.Meant(string(text)); s != "" {
			m.Serial = s
		}
	case 0xfc:
		m.Name = sysread.Clean(string(text))
	case 0xfe: // any text; panels of laptops have their names in such
		if s := sysread.Clean(string(text)); m.Name == "" && strings.Trim(s, "?") != "" && len(s) > 3 {
			m.Name = s
		}
	}
}

// makersOfScreens are common ids of the list of PNP ids (uefi.org/PNP_ID_List).
var makersOfScreens = map[string]string{
	"AAC": "AcerView", "ACI": "Asus", "ACR": "Acer", "AOC": "AOC", "APP": "Apple", "AUO": "AU Optronics", "AUS": "Asus", "BNQ": "BenQ", "BOE": "BOE", "CMN": "Innolux",
	"CMO": "Chi Mei", "CSO": "CSOT", "DEL": "Dell", "EIZ": "Eizo", "ENC": "Eizo", "FUS": "Fujitsu", "GSM": "LG", "HPN": "HP", "HWP": "HP", "IVM": "Iiyama", "IVO": "InfoVision",
	"LEN": "Lenovo", "LGD": "LG Display", "LPL": "LG Philips", "MSI": "MSI", "NEC": "NEC", "PHL": "Philips", "RHT": "Red Hat", "SAM": "Samsung", "SDC": "Samsung Display",
	"SEC": "Seiko Epson", "SHP": "Sharp", "SNY": "Sony", "TMX": "Tianma", "VSC": "ViewSonic", "VMW": "VMware",
}
