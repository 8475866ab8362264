package manifest

import (
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// conditions collects what speaks against (or about) one object, route parent or listener, and writes it down once.
type conditions struct {
	list []condition
}

type condition struct {
	kind, reason string
	status       bool
	messages     []string
}

// set states a condition. The first reason stays; later messages with the same status are added.
func (c *conditions) set(kind string, status bool, reason, message string) {
	for i := range c.list {
		if c.list[i].kind != kind {
			continue
		}
		if c.list[i].status == status && message != "" && !slices.Contains(c.list[i].messages, message) {
			c.list[i].messages = append(c.list[i].messages, message)
		}
		return
	}
	n := condition{kind: kind, status: status, reason: reason}
	if message != "" {
		n.messages = []string{message}
	}
	c.list = append(c.list, n)
}

// is reports whether a condition is stated with that status; nil states nothing.
func (c *conditions) is(kind string, status bool) bool {
	if c == nil {
		return false
	}
	for _, x := range c.list {
		if x.kind == kind {
			return x.status == status
		}
	}
	return false
}

// conditionRank puts the usual conditions first; others follow by name.
func conditionRank(kind string) string {
	switch kind {
	case ConditionAccepted:
		return "0"
	case ConditionResolvedRefs:
		return "1"
	case ConditionProgrammed:
		return "2"
	case ConditionDegraded:
		return "3"
	}
	return "9" + kind
}

// maxMessageBytes is what an API server takes as a condition's message.
const maxMessageBytes = 32768

// message joins the messages; what is cut off is among the problems of the report.
func (c condition) message() string {
	s := strings.Join(c.messages, ". ")
	if len(s) > maxMessageBytes {
		s = strings.ToValidUTF8(s[:maxMessageBytes-len("…")], "") + "…"
	}
	return s
}

// emit writes the conditions down. Messages keep the order in which they were found, which is deterministic.
func (c *conditions) emit(generation int64) []metav1.Condition {
	var out []metav1.Condition
	for _, x := range c.list {
		status := metav1.ConditionFalse
		if x.status {
			status = metav1.ConditionTrue
		}
		out = append(out, metav1.Condition{
			Type: x.kind, Status: status, Reason: x.reason,
			Message: x.message(), ObservedGeneration: generation,
		})
	}
	slices.SortFunc(out, func(a, b metav1.Condition) int {
		return strings.Compare(conditionRank(a.Type), conditionRank(b.Type))
	})
	return out
}

func itoa(n int) string { return strconv.Itoa(n) }
