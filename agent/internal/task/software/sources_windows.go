package software

// sources are asked in this order.
func sources() []source { return []source{{"windows", readRegistry, true}} }
