package inventory

// chassisName is the form of a computer by its number in decimal (DSP0134 SMBIOS 3.7, 7.4.1), in the words
// of hostnamectl(1); empty for those that say nothing.
func chassisName(number string) string {
	switch number {
	case "3", "4", "6", "7", "13", "35", "36":
		return "desktop"
	case "5", "15", "16", "24", "34":
		return "desktop"
	case "8", "9", "10", "14":
		return "laptop"
	case "11":
		return "handset"
	case "12":
		return "laptop" // a docking station reports for what is in it
	case "17", "23", "25", "28", "29":
		return "server"
	case "30":
		return "tablet"
	case "31", "32":
		return "convertible"
	case "33":
		return "embedded"
	default:
		return ""
	}
}
