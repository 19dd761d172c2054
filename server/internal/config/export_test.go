package config

// DecodeBytes lets the fuzz test reach decode.
func DecodeBytes(data []byte) (Config, error) {
	c := Default()
	if err := decode(data, &c); err != nil {
		return c, err
	}
	return c, c.Validate()
}
