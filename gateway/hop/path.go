package hop

import "slices"

// Entry is one gateway on a path.
type Entry struct {
	Group    string
	Instance string
}

const (
	maxPath    = 8   // entries
	maxEntryID = 128 // bytes of a group or instance id
	paramInst  = "i"
)

// parsePath reads Penstock-Path.
func parsePath(text string) ([]Entry, error) {
	members, err := parseList(text)
	switch {
	case err != nil:
		return nil, refuse(Malformed, "%s: %v", headerPath, err)
	case len(members) == 0:
		return nil, refuse(Malformed, "%s is empty", headerPath)
	case len(members) > maxPath:
		return nil, refuse(Malformed, "%s has %d entries, %d are allowed", headerPath, len(members), maxPath)
	}
	path := make([]Entry, 0, len(members)+1) // room for the own entry
	for i, m := range members {
		e := Entry{Group: m.value.text}
		if m.value.kind != sfString || e.Group == "" || len(e.Group) > maxEntryID {
			return nil, refuse(Malformed, "%s: entry %d is not a string of 1 to %d characters", headerPath, i, maxEntryID)
		}
		for _, p := range m.params {
			if p.key != paramInst {
				continue
			}
			if e.Instance != "" || p.value.kind != sfString || p.value.text == "" || len(p.value.text) > maxEntryID {
				return nil, refuse(Malformed, "%s: instance of entry %d is not one string of 1 to %d characters", headerPath, i, maxEntryID)
			}
			e.Instance = p.value.text
		}
		if onPath(path, e.Group) {
			// Whoever was second would have found the loop: this path was made up.
			return nil, refuse(Malformed, "%s: entry %d stands twice", headerPath, i)
		}
		path = append(path, e)
	}
	return path, nil
}

func onPath(path []Entry, group string) bool {
	return slices.ContainsFunc(path, func(e Entry) bool { return e.Group == group })
}

// formatPath is the value of Penstock-Path.
func formatPath(path []Entry) string {
	var b []byte
	for i, e := range path {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendString(b, e.Group)
		if e.Instance != "" {
			b = appendString(append(b, ";"+paramInst+"="...), e.Instance)
		}
	}
	return string(b)
}
