package software

// sources are asked in this order.
func sources() []source {
	return []source{{"macos", readApplications}, {"brew", readBrew}, {"nix", readNix}, {"pip", readPip}, {"npm", readNpm}, {"gem", readGem}}
}
