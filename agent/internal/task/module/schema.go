package module

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/muster/muster/agent/internal/modules"
	"github.com/muster/muster/packages/fault"
)

// checkLimit bounds the time of one check. Nothing that a schema can ask for grows faster than the product of its
// size and that of the parameters: it has no references, and patterns are matched in linear time.
const checkLimit = 10 * time.Second

// schema checks the parameters of one module.
type schema struct {
	resolved *jsonschema.Resolved
	defaults map[string]any
}

// noParameters is the schema of a module that names none.
const noParameters = `{"type":"object","additionalProperties":false}`

// compile reads the schema of a manifest and checks the default parameters by it. Every error is a fault of code
// invalid.
func compile(m modules.Manifest) (*schema, error) {
	text := []byte(m.Parameters)
	if len(text) == 0 {
		text = []byte(noParameters)
	}
	if err := withoutReferences(text); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "module %s is refused: parameters", m.Name)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "module %s is refused: parameters is no JSON Schema", m.Name)
	}
	resolved, err := s.Resolve(nil) // without a loader: nothing is fetched from anywhere
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "module %s is refused: parameters is no JSON Schema", m.Name)
	}
	out := &schema{resolved: resolved, defaults: map[string]any{}}
	if len(m.DefaultParameters) > 0 {
		if err := json.Unmarshal(m.DefaultParameters, &out.defaults); err != nil {
			return nil, fault.New(fault.Invalid, "module %s is refused: default_parameters is not a JSON object", m.Name)
		}
	}
	if err := out.check(out.defaults); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "module %s is refused: default_parameters do not fit its own schema", m.Name)
	}
	return out, nil
}

// parameters are the module's own with the given ones in their places, if the schema allows them. Every error is a
// fault of code invalid.
func (s *schema) parameters(given json.RawMessage) (json.RawMessage, error) {
	all := map[string]any{}
	for name, v := range s.defaults {
		all[name] = v
	}
	if len(given) > 0 {
		var own map[string]any
		if err := json.Unmarshal(given, &own); err != nil {
			return nil, fault.New(fault.Invalid, "the parameters are not a JSON object")
		}
		for name, v := range own {
			all[name] = v
		}
	}
	if err := s.check(all); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the module does not take these parameters")
	}
	return json.Marshal(all)
}

// check validates in a goroutine of its own, which is left behind when it takes too long: this process ends soon.
func (s *schema) check(parameters map[string]any) error {
	result := make(chan error, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				result <- fmt.Errorf("the schema cannot be applied: %v", v)
			}
		}()
		result <- s.resolved.Validate(parameters)
	}()
	timer := time.NewTimer(checkLimit)
	defer timer.Stop()
	select {
	case err := <-result:
		return err
	case <-timer.C:
		return fmt.Errorf("the check took over %s", checkLimit)
	}
}

// withoutReferences refuses schemas that refer to others, or to themselves: nothing is fetched from elsewhere, and
// what a check may cost is bounded. How deep they are nested is bounded by the manifest.
func withoutReferences(text []byte) error {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	if _, ok := v.(map[string]any); !ok {
		return fault.New(fault.Invalid, "it is not a JSON object")
	}
	return references(v)
}

func references(v any) error {
	switch v := v.(type) {
	case map[string]any:
		for name, sub := range v {
			switch name {
			case "$ref", "$dynamicRef", "$recursiveRef":
				return fault.New(fault.Invalid, "it has %q; write out what it refers to", name)
			}
			if err := references(sub); err != nil {
				return err
			}
		}
	case []any:
		for _, sub := range v {
			if err := references(sub); err != nil {
				return err
			}
		}
	}
	return nil
}
