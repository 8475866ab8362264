package v1alpha1

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	// File as it was given to Load or Parse.
	File string
	// Line counts from 1. For a field that is missing it is the line of what should hold it.
	Line int
	// Field is the path of the field, "tunnel.advertise[1]"; empty: the document.
	Field string
	// Reason says what is wrong, Remedy what to write.
	Reason, Remedy string
}

// String is "file:line: field: reason; remedy".
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Reason)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

// Error is what Load and Parse return for a file that can be read but not used; test with errors.As.
type Error struct {
	// Problems in the order of lines, at least one.
	Problems []Problem
}

// Error is one problem a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// findings gathers the problems of one file, and knows the line of each field.
type findings struct {
	file     string
	lines    map[string]int
	problems []Problem
}

// add notes a problem with a field; the nearest field around it that is there gives the line.
func (f *findings) add(field, remedy, reason string, args ...any) {
	f.addAt(f.line(field), field, remedy, reason, args...)
}

func (f *findings) addAt(line int, field, remedy, reason string, args ...any) {
	f.problems = append(f.problems, Problem{File: f.file, Line: line, Field: field, Reason: fmt.Sprintf(reason, args...), Remedy: remedy})
}

func (f *findings) line(field string) int {
	for {
		if n, ok := f.lines[field]; ok {
			return n
		}
		i := strings.LastIndexAny(field, ".[")
		if i < 0 {
			return max(f.lines[""], 1)
		}
		field = field[:i]
	}
}

// err is nil without problems.
func (f *findings) err() error {
	if len(f.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(f.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &Error{Problems: f.problems}
}
