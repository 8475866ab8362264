package v1alpha1

import (
	"encoding/json"
	"fmt"
	"time"
)

// Duration is a time.Duration that reads "30s", "1h30m". The zero value is written as "0s" and means the default.
type Duration struct{ time.Duration }

// MarshalJSON writes the duration as text, as String prints it.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the text form; a bare number is refused, since it has no unit.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("duration %s is not text; write a number with a unit, e.g. \"30s\"", data)
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration; write a number with a unit, e.g. \"30s\"", text)
	}
	d.Duration = v
	return nil
}
