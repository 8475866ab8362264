package filter

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"

	"penstock.dev/penstock/gateway/route"
)

// Chain is the filters of one request, in order. The zero value does nothing. A Chain is not changed by its methods and
// is safe for concurrent use if Skipped is.
type Chain struct {
	Filters []route.Filter
	// Match that won, for URLRewrite.PrefixPath; nil: the rule matches everything, as the prefix "/".
	Match *route.Match
	// Skipped is told of each filter that failed and was passed over because it may fail open, so that it is counted
	// and never silent; nil: nobody is told.
	Skipped func(f *route.Filter, err error)
}

// ErrUnknownType is wrapped by the error of a filter whose type the data plane does not have.
var ErrUnknownType = errors.New("the filter type is unknown here; use a built-in type, or leave the filter out")

// Error is a filter that failed and may not be passed over. Use errors.As.
type Error struct {
	Filter *route.Filter
	Err    error
}

func (e *Error) Error() string {
	from := ""
	if e.Filter.From != "" {
		from = " of " + e.Filter.From
	}
	return fmt.Sprintf("filter %s%s: %v", cmp.Or(e.Filter.Name, e.Filter.Type), from, e.Err)
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Request runs the filters of a request phase on r: its Host, URL and Header. An error is an *Error, and then the
// filters after the failed one did not run.
func (c Chain) Request(phase route.Phase, r *http.Request) error {
	return c.run(phase, func(f *route.Filter) error {
		switch f.Type {
		case route.FilterHeaderModifier:
			return modify(r.Header, f.Headers)
		case route.FilterURLRewrite:
			return rewrite(r, f.Rewrite, c.Match)
		}
		return other(f)
	})
}

// Response runs the filters of a response phase on a response header. Errors are as those of Request.
func (c Chain) Response(phase route.Phase, h http.Header) error {
	return c.run(phase, func(f *route.Filter) error {
		if f.Type == route.FilterHeaderModifier {
			return modify(h, f.Headers)
		}
		return other(f)
	})
}

// other answers for the types that are dealt with elsewhere, and for those that nobody knows.
func other(f *route.Filter) error {
	switch f.Type {
	case route.FilterRequestGuard, route.FilterCredentialInjector, route.FilterRequestMirror, route.FilterCORS:
		return nil
	case route.FilterURLRewrite:
		return errors.New("a response has no url to rewrite; use a request phase")
	}
	return ErrUnknownType
}

func (c Chain) run(phase route.Phase, step func(*route.Filter) error) error {
	for i := range c.Filters {
		f := &c.Filters[i]
		if f.Phase != phase {
			continue
		}
		err := step(f)
		if err == nil {
			continue
		}
		if !f.FailOpen {
			return &Error{Filter: f, Err: err}
		}
		if c.Skipped != nil {
			c.Skipped(f, err)
		}
	}
	return nil
}
