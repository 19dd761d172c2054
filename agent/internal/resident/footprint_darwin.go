package resident

func readUsage() usage { return countedByUnix() }

// maxrssUnit is what a unit of ru_maxrss is in bytes.
const maxrssUnit = 1
