package store

// DecodeLine lets the fuzz test reach decodeLine.
func DecodeLine(data []byte) (table string, row map[string]any, err error) {
	l, err := decodeLine(data)
	return l.Table, l.Row, err
}

// Waiting is how many callers wait for the next commits.
func (g *Group[T]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// ParseURL lets the fuzz test reach parseURL; name is what is logged.
func ParseURL(raw string) (dialect, name string, err error) {
	t, err := parseURL(raw)
	if err != nil {
		return "", "", err
	}
	return t.dialect, t.name(), nil
}
