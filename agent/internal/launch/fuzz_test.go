package launch

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever is on the disk: a state that is believed leads to a program inside the data directory or to the installed
// one, after one ending at most, and is the same when it is written and read again.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"format":1,"current":{"name":"a","version":"1.1.0","sha256":"` + zeros + `","size":3},"trial":{"name":"b","version":"1.2.0","sha256":"` + zeros + `","size":3,"task":"t","armed":true,"attempts":1,"probation_ms":10}}`))
	f.Add([]byte(`{"previous":{"name":"../a"}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode(data)
		if err != nil {
			require.Equal(t, State{}, s)
			return
		}
		again, err := json.Marshal(s)
		require.NoError(t, err)
		same, err := decode(again)
		require.NoError(t, err)
		require.Equal(t, s, same)
		for _, usable := range []error{nil, errors.New("damaged")} {
			f := facts{installed: "1.0.0", usable: func(Slot) error { return usable }}
			d := decide(s, f)
			if d.end != nil {
				d = decide(s.after(*d.end), f)
			}
			require.Nil(t, d.end)
			if d.slot != nil {
				require.Equal(t, "/data/launch", filepath.Dir(d.slot.Path("/data")))
			}
			if usable != nil {
				require.Nil(t, d.slot)
			}
		}
	})
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"
