package protocol

import (
	"bytes"
	"encoding/json"

	"github.com/muster/muster/packages/fault"
)

// Tasks are the tasks of a CheckInResponse. Decoding ends at the first one over MaxTasks, before memory is
// taken for the rest: a few million empty ones fit into an answer of ordinary size.
type Tasks []Task

// UnmarshalJSON decodes a list; a longer one is a fault of code too_large.
func (l *Tasks) UnmarshalJSON(data []byte) error {
	list, err := decodeList[Task](data, MaxTasks, "tasks")
	*l = list
	return err
}

// Documents is a chain of trust documents (DSSE envelopes), oldest first. Decoding ends at the first one
// over MaxDocuments.
type Documents []json.RawMessage

// UnmarshalJSON decodes a list; a longer one is a fault of code too_large.
func (l *Documents) UnmarshalJSON(data []byte) error {
	list, err := decodeList[json.RawMessage](data, MaxDocuments, "trust documents")
	*l = list
	return err
}

// decodeList reads a JSON array of at most limit elements; null is none.
func decodeList[T any](data []byte, limit int, what string) ([]T, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	start, err := dec.Token()
	if err != nil || start == nil {
		return nil, err
	}
	if start != json.Delim('[') {
		return nil, fault.New(fault.Invalid, "the list of %s is none", what)
	}
	list := []T{}
	for dec.More() {
		if len(list) == limit {
			return nil, fault.New(fault.TooLarge, "there are more than %d %s in one answer", limit, what)
		}
		var element T
		if err := dec.Decode(&element); err != nil {
			return nil, err
		}
		list = append(list, element)
	}
	return list, nil
}
