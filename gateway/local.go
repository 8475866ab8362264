package gateway

import (
	"net/http"

	"penstock.dev/penstock/gateway/filter"
	"penstock.dev/penstock/gateway/route"
)

// local answers what needs no Backend, once the table has let it through: preflights and redirects. It reports whether it
// did.
func (x *exchange) local() (bool, *failure) {
	x.cors, x.origin = corsOf(x.Filters), x.r.Header.Get("Origin")
	switch {
	case x.cors != nil && filter.Preflight(x.r):
		filter.AnswerPreflight(x.w.Header(), x.cors, x.r)
		return true, x.answerHere(http.StatusNoContent)
	case x.Target.Redirect != nil:
		to, err := filter.Location(x.r, x.Target.Redirect, x.Match, x.Listener)
		if err != nil {
			return true, fail(reasonMalformed, err.Error(), "send a host name that can be written into a URL")
		}
		x.w.Header().Set("Location", to)
		return true, x.answerHere(x.Target.Redirect.StatusCode)
	}
	return false, nil
}

// answerHere answers with the headers that stand in w, and no content.
func (x *exchange) answerHere(status int) *failure {
	h := x.w.Header()
	if err := x.filters().Response(route.PhaseResponseHeaders, h); err != nil {
		clear(h)
		return filterFailure(err)
	}
	if x.cors != nil && status != http.StatusNoContent {
		filter.MarkResponse(h, x.cors, x.origin)
	}
	h["X-Request-Id"] = []string{x.tags.RequestID}
	if status != http.StatusNoContent {
		h["Content-Length"] = []string{"0"}
	}
	x.status, x.answering = status, true
	x.w.WriteHeader(status)
	return nil
}

// corsOf is the CORS filter of a route; nil: there is none.
func corsOf(filters []route.Filter) *route.CORS {
	for i := range filters {
		if filters[i].CORS != nil {
			return filters[i].CORS
		}
	}
	return nil
}
