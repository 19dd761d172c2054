package config

// DecodeBytes lets the fuzz test reach decode.
func DecodeBytes(data []byte) {
	c := Default()
	if decode(data, &c) == nil {
		_ = c.Validate()
	}
}
