package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

// The bounds of the resolver.
const (
	ttlMin      = time.Second     // a TTL of 0 must not mean a lookup per request
	ttlMax      = 5 * time.Minute // a long TTL must not outlive the address
	negativeMin = time.Second
	negativeMax = 5 * time.Second
	staleMax    = time.Minute // how long an expired answer serves while DNS fails
	maxAnswers  = 16
	maxNames    = 4096 // in the cache
	maxAliases  = 8    // CNAMEs in a row

	lookupTimeout = 5 * time.Second // one name, all servers
	queryTimeout  = 2 * time.Second // one question to one server
)

// errNoAddress: the name exists, but not with addresses; or it does not exist.
var errNoAddress = errors.New("no such name, or no address under it")

// resolver turns names into addresses: literal, static host, cache, DNS. Safe for concurrent use.
type resolver struct {
	hosts   map[string][]netip.Addr
	servers []string
	// exchange puts one question; askServers but in tests of time.
	exchange func(ctx context.Context, name string, qtype uint16) (*dns.Msg, error)

	flight singleflight.Group // by name: at most one lookup per name at a time
	base   context.Context    // ends lookups that nobody waits for any more

	mu    sync.Mutex
	cache map[string]*answer
}

// answer is a cached lookup. err is set for a negative one.
type answer struct {
	addrs   []netip.Addr
	err     error
	expires time.Time
}

// newResolver reads the system's servers if none are given.
func newResolver(base context.Context, hosts map[string][]netip.Addr, servers []string) (*resolver, error) {
	r := &resolver{hosts: map[string][]netip.Addr{}, base: base, cache: map[string]*answer{}}
	r.exchange = r.askServers
	for name, addrs := range hosts {
		n, err := normalName(name)
		if err != nil {
			return nil, fmt.Errorf("static host %q: %w", name, err)
		}
		r.hosts[n] = addrs
	}
	for _, s := range servers {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return nil, fmt.Errorf("DNS server %q is not ip:port; write e.g. \"10.96.0.10:53\": %w", s, err)
		}
		r.servers = append(r.servers, ap.String())
	}
	if len(r.servers) == 0 {
		r.servers = systemServers()
	}
	return r, nil
}

// systemServers are those of resolv.conf, or the local host's, as other resolvers do it.
func systemServers() []string {
	conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil || len(conf.Servers) == 0 {
		return []string{"127.0.0.1:53", "[::1]:53"}
	}
	servers := make([]string, 0, len(conf.Servers))
	for _, s := range conf.Servers {
		servers = append(servers, net.JoinHostPort(s, conf.Port))
	}
	return servers
}

// lookup returns at least one and at most 16 addresses, in the order of the answer.
func (r *resolver) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	name, err := normalName(host)
	if err != nil {
		return nil, err
	}
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	if addrs, ok := r.hosts[name]; ok {
		if len(addrs) == 0 {
			return nil, errNoAddress
		}
		return addrs, nil
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		// RFC 6761 §6.3: never asked of a server.
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	old := r.cached(name)
	if old != nil && time.Now().Before(old.expires) {
		return old.addrs, old.err
	}

	flight := r.flight.DoChan(name, func() (any, error) {
		ctx, cancel := context.WithTimeout(r.base, lookupTimeout)
		defer cancel()
		return r.refresh(ctx, name)
	})
	select {
	case res := <-flight:
		if res.Err != nil {
			return nil, res.Err
		}
		return res.Val.([]netip.Addr), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (r *resolver) cached(name string) *answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cache[name]
}

// refresh asks the servers and remembers what they said.
func (r *resolver) refresh(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, ttl, err := r.ask(ctx, name)
	now := time.Now()
	fresh := &answer{addrs: addrs, err: err, expires: now.Add(min(max(ttl, ttlMin), ttlMax))}
	if err != nil {
		fresh.expires = now.Add(min(max(ttl, negativeMin), negativeMax))
		old := r.cached(name)
		if old != nil && old.err == nil && !errors.Is(err, errNoAddress) && now.Before(old.expires.Add(staleMax)) {
			// DNS itself fails: the last answer is better than none. The next request after a second asks again.
			return old.addrs, nil
		}
	}
	r.remember(name, fresh)
	return addrs, err
}

func (r *resolver) remember(name string, a *answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.cache[name]; !known && len(r.cache) >= maxNames {
		for n, old := range r.cache {
			if time.Now().After(old.expires.Add(staleMax)) {
				delete(r.cache, n)
			}
		}
		for n := range r.cache {
			if len(r.cache) < maxNames {
				break
			}
			delete(r.cache, n)
		}
	}
	r.cache[name] = a
}

// ask puts both questions at once and joins the answers, IPv6 first. One family is enough.
func (r *resolver) ask(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	type family struct {
		addrs []netip.Addr
		ttl   time.Duration
		err   error
	}
	var families [2]family
	var wg sync.WaitGroup
	for i, qtype := range []uint16{dns.TypeAAAA, dns.TypeA} {
		wg.Go(func() {
			f := &families[i]
			f.addrs, f.ttl, f.err = r.query(ctx, name, qtype)
		})
	}
	wg.Wait()

	six, four := families[0], families[1]
	switch {
	case six.err == nil && four.err == nil:
		return capped(six.addrs, four.addrs), min(six.ttl, four.ttl), nil
	case six.err == nil:
		return capped(six.addrs, nil), six.ttl, nil
	case four.err == nil:
		return capped(nil, four.addrs), four.ttl, nil
	case errors.Is(six.err, errNoAddress) && errors.Is(four.err, errNoAddress):
		return nil, min(six.ttl, four.ttl), errNoAddress
	case errors.Is(four.err, errNoAddress):
		return nil, 0, six.err
	default:
		return nil, 0, four.err
	}
}

// capped joins two families without repetition, each keeping at least half of the places it needs.
func capped(six, four []netip.Addr) []netip.Addr {
	const half = maxAnswers / 2
	six, four = distinct(six), distinct(four)
	six = six[:min(len(six), max(half, maxAnswers-len(four)))]
	four = four[:min(len(four), maxAnswers-len(six))]
	return append(slices.Clip(six), four...)
}

func distinct(in []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range in {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
		if len(out) == maxAnswers {
			break
		}
	}
	return out
}

// query asks for one type, following aliases that the answer does not resolve itself.
func (r *resolver) query(ctx context.Context, name string, qtype uint16) ([]netip.Addr, time.Duration, error) {
	ttl := ttlMax
	for range maxAliases {
		msg, err := r.exchange(ctx, name, qtype)
		if err != nil {
			return nil, 0, err
		}
		end, addrs, t := follow(msg, name, qtype)
		ttl = min(ttl, t)
		switch {
		case len(addrs) > 0:
			return addrs, ttl, nil
		case end == name || msg.Rcode == dns.RcodeNameError:
			return nil, negativeTTL(msg), errNoAddress
		}
		name = end
	}
	return nil, negativeMax, fmt.Errorf("more than %d aliases in a row", maxAliases)
}

// askServers asks one server after the other, twice around, until one gives an answer of substance.
func (r *resolver) askServers(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), qtype)
	q.SetEdns0(1232, false) // fits every path without fragments
	var errs []error
	for range 2 {
		for _, server := range r.servers {
			msg, err := exchangeWith(ctx, q, server)
			if err == nil {
				return msg, nil
			}
			if ctx.Err() != nil {
				return nil, fmt.Errorf("ask %s: %w", server, context.Cause(ctx))
			}
			errs = append(errs, fmt.Errorf("ask %s: %w", server, err))
		}
	}
	return nil, errors.Join(errs...)
}

func exchangeWith(ctx context.Context, q *dns.Msg, server string) (*dns.Msg, error) {
	q = q.Copy()
	q.Id = dns.Id()
	udp := &dns.Client{Net: "udp", Timeout: queryTimeout, UDPSize: 1232}
	msg, _, err := udp.ExchangeContext(ctx, q, server)
	if err == nil && msg.Truncated {
		tcp := &dns.Client{Net: "tcp", Timeout: queryTimeout}
		msg, _, err = tcp.ExchangeContext(ctx, q, server)
	}
	if err != nil {
		return nil, err
	}
	// The id is checked by the client; a late answer to another question could still carry it.
	if len(msg.Question) != 1 || !strings.EqualFold(msg.Question[0].Name, q.Question[0].Name) || msg.Question[0].Qtype != q.Question[0].Qtype {
		return nil, errors.New("the answer is to another question")
	}
	if msg.Rcode != dns.RcodeSuccess && msg.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("answered %s", dns.RcodeToString[msg.Rcode])
	}
	return msg, nil
}

// follow walks the aliases of an answer from name to their end, and returns the addresses there. Records of other names
// are not looked at.
func follow(msg *dns.Msg, name string, qtype uint16) (end string, addrs []netip.Addr, ttl time.Duration) {
	end, ttl = name, ttlMax
	for range maxAliases {
		next := ""
		for _, rr := range msg.Answer {
			h := rr.Header()
			owner, err := normalName(h.Name)
			if err != nil || owner != end {
				continue
			}
			var ip net.IP
			switch rr := rr.(type) {
			case *dns.CNAME:
				if target, err := normalName(rr.Target); err == nil {
					next = target
				}
			case *dns.A:
				ip = rr.A.To4()
			case *dns.AAAA:
				ip = rr.AAAA.To16()
			default:
				continue
			}
			if a, ok := netip.AddrFromSlice(ip); ok && h.Rrtype == qtype {
				addrs = append(addrs, a)
			}
			ttl = min(ttl, time.Duration(h.Ttl)*time.Second)
		}
		if len(addrs) > 0 || next == "" || next == end {
			return end, addrs, ttl
		}
		end = next
	}
	return end, nil, ttl
}

// negativeTTL is RFC 2308 §5: the least of the SOA's TTL and its MINIMUM.
func negativeTTL(msg *dns.Msg) time.Duration {
	for _, rr := range msg.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return time.Duration(min(soa.Hdr.Ttl, soa.Minttl)) * time.Second
		}
	}
	return negativeMin
}

// normalName is a host name in lower case without the dot at its end. It takes letters, digits, hyphens and underscores
// only: nothing that a resolver further on might read in another way. An IPv6 literal may come in brackets.
func normalName(host string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if inner, ok := strings.CutPrefix(name, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			name = inner
		}
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return name, nil
	}
	if name == "" || len(name) > 253 {
		return "", fmt.Errorf("name %q is empty or too long", host)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", fmt.Errorf("name %q has an empty or too long label", host)
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return "", fmt.Errorf("name %q has a character that no host name has; write internationalized names in their xn-- form", host)
			}
		}
	}
	return name, nil
}
