package store

// DecodeLine lets the fuzz test reach decodeLine.
func DecodeLine(data []byte) (table string, row map[string]any, err error) {
	l, err := decodeLine(data)
	return l.Table, l.Row, err
}
