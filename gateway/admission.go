package gateway

import (
	"sync"

	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
)

// The caps of HOPS-AND-RETRIES (K) where a Backend sets none.
const (
	defaultInFlight          = 1024
	defaultStreams           = 10_000
	defaultInFlightOfSubject = 64
	defaultStreamsOfSubject  = 1000
)

// destination is the state of one Backend at this replica. It outlives snapshots, so that a reload lifts no cap and no
// hold-down. Safe for concurrent use.
type destination struct {
	guards retry.Guards

	mu       sync.Mutex
	total    load
	subjects map[string]*load // those with something in flight
}

// load counts requests: those that wait for response headers, and those whose response is under way.
type load struct{ waiting, streaming int }

// slot is one request's place. Its methods may be called in any order and more than once, by one goroutine.
type slot struct {
	d       *destination
	subject string
	state   int // waiting, streaming, left
}

const (
	slotWaiting = iota
	slotStreaming
	slotLeft
)

// admit takes a place, or says which cap refuses: the subject's or the Backend's. The subject's comes first, so that
// one tenant at its cap does not start a hold-down for all (A.3 step 5). A stream does not count against maxInFlight.
func (d *destination) admit(subject string, lim route.Limits) (s *slot, refused string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	own := d.subjects[subject]
	if own == nil {
		own = &load{}
	}
	switch {
	case own.waiting >= orDefault(lim.MaxInFlightPerSubject, defaultInFlightOfSubject),
		own.streaming >= orDefault(lim.MaxStreamsPerSubject, defaultStreamsOfSubject):
		return nil, reasonSubjectBusy
	case d.total.waiting >= orDefault(lim.MaxInFlight, defaultInFlight),
		d.total.streaming >= orDefault(lim.MaxStreams, defaultStreams):
		return nil, reasonBackendBusy
	}
	if d.subjects == nil {
		d.subjects = map[string]*load{}
	}
	d.subjects[subject] = own
	own.waiting++
	d.total.waiting++
	return &slot{d: d, subject: subject}, ""
}

// idle reports whether nothing is in flight.
func (d *destination) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.total == load{}
}

// streaming says that response headers have arrived.
func (s *slot) streaming() { s.move(slotStreaming) }

// leave gives the place back.
func (s *slot) leave() { s.move(slotLeft) }

func (s *slot) move(to int) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if to <= s.state {
		return
	}
	own := s.d.subjects[s.subject]
	for _, l := range []*load{own, &s.d.total} {
		switch s.state {
		case slotWaiting:
			l.waiting--
		case slotStreaming:
			l.streaming--
		}
		if to == slotStreaming {
			l.streaming++
		}
	}
	s.state = to
	if *own == (load{}) {
		delete(s.d.subjects, s.subject)
	}
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}
