package crowd

// Most is how many connections this process can hold.
func Most() int { return unlimited }
