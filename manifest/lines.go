package manifest

import (
	"strconv"

	"go.yaml.in/yaml/v3"
)

// maxLineDepth bounds how deep fields are looked up: no kind nests deeper, and a hostile document must not cost stack.
const maxLineDepth = 64

// fieldLines maps the field paths of a YAML document ("spec.rules[0].name") to line numbers of the file, given the line
// at which the document begins. Aliases are not followed, so that a document cannot expand. A document that does not
// parse has no lines: the strict decoder reports it.
func fieldLines(doc []byte, first int) map[string]int {
	var root yaml.Node
	if err := yaml.Unmarshal(doc, &root); err != nil || len(root.Content) == 0 {
		return nil
	}
	lines := map[string]int{}
	walkLines(root.Content[0], "", first-1, 0, lines)
	return lines
}

func walkLines(n *yaml.Node, path string, offset, depth int, lines map[string]int) {
	if depth > maxLineDepth {
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			p := n.Content[i].Value
			if path != "" {
				p = path + "." + p
			}
			lines[p] = n.Content[i].Line + offset
			walkLines(n.Content[i+1], p, offset, depth+1, lines)
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			p := path + "[" + strconv.Itoa(i) + "]"
			lines[p] = item.Line + offset
			walkLines(item, p, offset, depth+1, lines)
		}
	}
}
