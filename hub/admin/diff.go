package admin

import (
	"bytes"
	"encoding/json"
	"strings"

	"sigs.k8s.io/yaml"
)

// maxDiffCells bounds the table of a diff: two thousand lines on each side. Beyond it the old text is shown as removed
// and the new one as added.
const maxDiffCells = 4 << 20

// diff of a proposal, as YAML. Of Secrets only names are compared in the open; that values differ is said in a line.
func (p proposal) diff() []string {
	var old json.RawMessage
	if p.old != nil {
		old = p.old.Data
	}
	lines := diffLines(yamlLines(shown(p.next.Kind, p.next.Group, old)), yamlLines(shown(p.next.Kind, p.next.Group, p.next.Data)))
	if p.next.Kind == kindSecret && p.next.Group == "" && !bytes.Equal(old, p.next.Data) {
		if old != nil {
			lines = append(lines, "-# data: "+redacted)
		}
		lines = append(lines, "+# data: "+redacted)
	}
	return lines
}

// yamlLines of a JSON document; none of nothing.
func yamlLines(data json.RawMessage) []string {
	if len(data) == 0 {
		return nil
	}
	text, err := yaml.JSONToYAML(data)
	if err != nil {
		return []string{string(data)}
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// diffLines turns a into b: each line with ' ', '-' or '+' before it, removals before additions. It is a longest common
// subsequence, so nothing is shown as changed that is not.
func diffLines(a, b []string) []string {
	var head, tail []string
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		head = append(head, " "+a[0])
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append(tail, " "+a[len(a)-1])
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	out := head
	if len(a)*len(b) > maxDiffCells {
		out = append(out, marked("-", a)...)
		out = append(out, marked("+", b)...)
	} else {
		out = append(out, middle(a, b)...)
	}
	for i := len(tail) - 1; i >= 0; i-- {
		out = append(out, tail[i])
	}
	return out
}

// middle is diffLines of what neither begins nor ends alike.
func middle(a, b []string) []string {
	// common[i][j] is the length of the longest common subsequence of a[i:] and b[j:].
	common := make([][]int32, len(a)+1)
	for i := range common {
		common[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] == b[j]:
			out = append(out, " "+a[i])
			i, j = i+1, j+1
		case common[i+1][j] >= common[i][j+1]:
			out = append(out, "-"+a[i])
			i++
		default:
			out = append(out, "+"+b[j])
			j++
		}
	}
	out = append(out, marked("-", a[i:])...)
	return append(out, marked("+", b[j:])...)
}

func marked(mark string, lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = mark + l
	}
	return out
}
