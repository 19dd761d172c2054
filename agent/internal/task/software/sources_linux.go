package software

// sources are asked in this order.
func sources() []source {
	return []source{
		{"dpkg", readDpkg, true}, {"rpm", readRPM, true}, {"apk", readAPK, true}, {"pacman", readPacman, true},
		{"portage", readPortage, true}, {"xbps", readXBPS, true}, {"slackware", readSlackware, true},
		{"snap", readSnap, false}, {"flatpak", readFlatpak, false}, {"brew", readBrew, false}, {"nix", readNix, false},
		{"pip", readPip, false}, {"npm", readNpm, false}, {"gem", readGem, false},
	}
}
