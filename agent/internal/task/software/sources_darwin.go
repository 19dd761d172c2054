package software

// sources are asked in this order.
func sources() []source {
	return []source{
		{"macos", readApplications, true}, {"brew", readBrew, false}, {"nix", readNix, false},
		{"pip", readPip, false}, {"npm", readNpm, false}, {"gem", readGem, false},
	}
}
