package telemetry

import (
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Labels say whom a request is about. Empty fields become "none". Comparable, so that it can be a map key.
type Labels struct {
	Gateway, Route, Backend, Namespace, ServiceAccount, Cluster string
}

const (
	none  = "none"
	other = "other"
)

var labelNames = []string{"gateway", "route", "backend", "namespace", "serviceAccount", "cluster"}

func (l Labels) values() []string {
	v := []string{l.Gateway, l.Route, l.Backend, l.Namespace, l.ServiceAccount, l.Cluster}
	for i := range v {
		if v[i] == "" {
			v[i] = none
		}
	}
	return v
}

// rest is where label sets beyond the bound are counted.
var rest = Labels{other, other, other, other, other, other}

// series are the resolved metrics of one label set, so that a request costs one map lookup and no hashing of label
// values.
type series struct {
	values   []string
	duration prometheus.Observer
	attempts prometheus.Observer

	mu    sync.RWMutex
	codes map[int]prometheus.Counter
}

// seriesSet bounds the label sets.
type seriesSet struct {
	max int

	mu  sync.RWMutex
	all map[Labels]*series
}

func (s *seriesSet) get(l Labels, make func([]string) *series) *series {
	s.mu.RLock()
	got, full := s.all[l], len(s.all) >= s.max
	s.mu.RUnlock()
	if got != nil {
		return got
	}
	if full && l != rest {
		return s.get(rest, make)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.all[l]; got != nil {
		return got
	}
	if len(s.all) >= s.max && l != rest {
		l = rest
		if got := s.all[l]; got != nil {
			return got
		}
	}
	got = make(l.values())
	s.all[l] = got
	return got
}

// knownCode folds status codes that nobody registered into their class, since an upstream may invent hundreds. 0 stays.
func knownCode(code int) int {
	if code == 0 || http.StatusText(code) != "" {
		return code
	}
	return max(1, min(code/100, 9)) * 100
}

func (s *series) code(vec *prometheus.CounterVec, code int) prometheus.Counter {
	code = knownCode(code)
	s.mu.RLock()
	c := s.codes[code]
	s.mu.RUnlock()
	if c != nil {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c = s.codes[code]; c == nil {
		text := none
		if code != 0 {
			text = strconv.Itoa(code)
		}
		c = vec.WithLabelValues(append(slices.Clone(s.values), text)...)
		s.codes[code] = c
	}
	return c
}
