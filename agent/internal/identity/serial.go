package identity

import "time"

// Serials is what keeps a server from going back: the highest serial accepted of each package name, and
// the newest issue time ever verified, below which the device's clock is not believed.
type Serials struct {
	Packages map[string]uint64 `json:"packages"`
	Newest   time.Time         `json:"newest"`
}

// LoadSerials reads the high-water marks.
func (s *Store) LoadSerials() (Serials, error) {
	v := Serials{}
	if _, err := s.read(serialsFile, &v); err != nil {
		return v, err
	}
	if v.Packages == nil {
		v.Packages = map[string]uint64{}
	}
	return v, nil
}

// RaiseSerial persists that an instruction was accepted. Lower values change nothing.
func (s *Store) RaiseSerial(name string, serial uint64, issued time.Time) error {
	v, err := s.LoadSerials()
	if err != nil {
		return err
	}
	if serial <= v.Packages[name] && !issued.After(v.Newest) {
		return nil
	}
	v.Packages[name] = max(serial, v.Packages[name])
	if issued.After(v.Newest) {
		v.Newest = issued.UTC()
	}
	return s.write(serialsFile, v)
}

// Now is the time by which expiry is judged: a clock set back does not revive an expired document.
func (v Serials) Now(clock time.Time) time.Time {
	if v.Newest.After(clock) {
		return v.Newest
	}
	return clock
}
