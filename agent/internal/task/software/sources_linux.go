package software

// sources are asked in this order.
func sources() []source {
	return []source{
		{"dpkg", readDpkg}, {"rpm", readRPM}, {"apk", readAPK}, {"pacman", readPacman},
		{"portage", readPortage}, {"xbps", readXBPS}, {"slackware", readSlackware},
		{"snap", readSnap}, {"flatpak", readFlatpak}, {"brew", readBrew}, {"nix", readNix},
		{"pip", readPip}, {"npm", readNpm}, {"gem", readGem},
	}
}
