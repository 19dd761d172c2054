//go:build !linux && !windows && !darwin

package software

// sources are asked in this order.
func sources() []source {
	return []source{{"pip", readPip, false}, {"npm", readNpm, false}, {"gem", readGem, false}}
}
