//go:build interop

package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/route"
)

// The parts that run inside the namespace, as programs of their own: this test binary.
const (
	insideEnv = "PENSTOCK_TEST_INSIDE"
	campaign  = "campaign" // the corpus
	canary    = "canary"   // one connection that must be counted, to know that the counter counts
)

const (
	corpusPort = 4443 // nobody else in the namespace uses it
	openedPort = 4444
)

// TestInteropNoPacketToTheInside: the corpus by literal, DNS, CNAME, mixed answers and rebinding, in a network namespace where
// every address has a route and a packet counter looks at what leaves: 0 packets to a forbidden address (T-D12).
func TestInteropNoPacketToTheInside(t *testing.T) {
	switch os.Getenv(insideEnv) {
	case campaign:
		inside(t)
		return
	case canary:
		c, err := (&net.Dialer{Timeout: 100 * time.Millisecond}).DialContext(t.Context(), "tcp", "169.254.169.254:"+strconv.Itoa(corpusPort))
		if err == nil {
			_ = c.Close()
		}
		return
	}
	space := fmt.Sprintf("penstock-%d", os.Getpid())
	run(t, nil, "ip", "netns", "add", space)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", space).Run() })
	in := func(args ...string) string {
		return run(t, nil, "ip", append([]string{"netns", "exec", space}, args...)...)
	}
	in("ip", "link", "set", "lo", "up")
	in("ip", "route", "add", "default", "dev", "lo")
	in("ip", "-6", "route", "add", "default", "dev", "lo")
	rules := "table inet watch {\n counter forbidden {}\n counter public {}\n counter opened {}\n chain out {\n  type filter hook output priority 0;\n"
	for _, cidr := range append(endpoint.Registry(), "64:ff9b::/96", "::ffff:0:0/96", "::/96") {
		family := "ip"
		if strings.Contains(cidr, ":") {
			family = "ip6"
		}
		rules += fmt.Sprintf("  %s daddr %s tcp dport %d counter name forbidden\n", family, cidr, corpusPort)
	}
	rules += fmt.Sprintf("  ip daddr 8.8.8.8 tcp dport %d counter name public\n  ip daddr 10.9.9.9 tcp dport %d counter name opened\n }\n}\n", corpusPort, openedPort)
	run(t, strings.NewReader(rules), "ip", "netns", "exec", space, "nft", "-f", "-")
	packets := func(counter string) int {
		m := regexp.MustCompile(`packets (\d+)`).FindStringSubmatch(in("nft", "list", "counter", "inet", "watch", counter))
		if m == nil {
			t.Fatalf("nft says nothing of counter %s", counter)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	again := func(part string) string {
		return in("env", insideEnv+"="+part, os.Args[0], "-test.run=^TestInteropNoPacketToTheInside$", "-test.v", "-test.timeout=8m")
	}
	t.Log(regexp.MustCompile(`tried: .*`).FindString(again(campaign)))
	if n := packets("forbidden"); n != 0 {
		t.Errorf("%d packets to forbidden addresses", n)
	}
	if packets("public") == 0 {
		t.Error("no packet to the public address of the rebinding names: the campaign proves nothing")
	}
	if packets("opened") == 0 {
		t.Error("no packet to an address that its Backend opens")
	}
	again(canary)
	if packets("forbidden") == 0 {
		t.Error("a connection to a metadata address was not counted: the counter proves nothing")
	}
}

// run runs a program to a good end.
func run(t *testing.T, stdin io.Reader, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = stdin
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// inside tries every entry in every way.
func inside(t *testing.T) {
	corpus := endpoint.Corpus()
	answer := func(q dns.Question, n int) *dns.Msg {
		way, number, _ := strings.Cut(strings.TrimSuffix(q.Name, ".example.com."), "-")
		i, err := strconv.Atoi(number)
		if err != nil || i >= len(corpus) {
			return &dns.Msg{}
		}
		a := corpus[i].Addr.WithZone("")
		kind, wanted := "A", q.Qtype == dns.TypeA
		if !a.Is4() {
			kind, wanted = "AAAA", q.Qtype == dns.TypeAAAA
		}
		record := func(name string) string { return fmt.Sprintf("%s 0 %s %s", name, kind, a) }
		public := q.Name + " 0 A 8.8.8.8"
		switch {
		case way == "alias" && wanted:
			return records(t, q.Name+" 0 CNAME inner.example.net.", record("inner.example.net."))
		case way == "mixed" && q.Qtype == dns.TypeA && kind == "A":
			return records(t, public, record(q.Name))
		case way == "rebinding" && n%2 == 0:
			if q.Qtype == dns.TypeA {
				return records(t, public)
			}
			return &dns.Msg{}
		case wanted:
			return records(t, record(q.Name))
		case way == "mixed" && q.Qtype == dns.TypeA:
			return records(t, public)
		}
		return &dns.Msg{}
	}
	e := start(t, endpoint.Config{Servers: []string{serveDNS(t, answer).addr}})
	var tried, refused atomic.Int64
	try := func(b *route.Backend) error {
		b.Key, b.Via, b.Authority, b.Timeouts.Connect = "team/"+b.Hostname, route.ViaEndpoint, b.Hostname, 100*time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		req := request(t, http.MethodGet, "/", nil).WithContext(ctx)
		res, err := e.RoundTrip(req, b)
		if err == nil {
			_ = res.Body.Close()
			return fmt.Errorf("%s is answered", b.Hostname)
		}
		tried.Add(1)
		var failed *endpoint.Error
		if errors.As(err, &failed) && failed.Cause == endpoint.DestinationProhibited {
			refused.Add(1)
		}
		return nil
	}
	var g errgroup.Group
	g.SetLimit(16)
	for i, c := range corpus {
		hosts := []string{c.Addr.String(), c.Addr.String() + "."}
		if c.Addr.Is6() {
			hosts = append(hosts, "["+c.Addr.String()+"]")
		} else {
			four := c.Addr.As4()
			number := uint32(four[0])<<24 | uint32(four[1])<<16 | uint32(four[2])<<8 | uint32(four[3])
			hosts = append(hosts, strconv.FormatUint(uint64(number), 10), fmt.Sprintf("0x%x", number), fmt.Sprintf("0%o.0%o.0%o.0%o", four[0], four[1], four[2], four[3]), fmt.Sprintf("%d.%d", four[0], number&0xffffff))
		}
		for _, way := range []string{"direct", "alias", "mixed", "rebinding", "rebinding", "rebinding"} {
			hosts = append(hosts, fmt.Sprintf("%s-%d.example.com", way, i))
		}
		for _, host := range hosts {
			g.Go(func() error { return try(&route.Backend{Hostname: host, Port: corpusPort}) })
		}
	}
	g.Go(func() error {
		return try(&route.Backend{Hostname: "10.9.9.9", Port: openedPort, AllowedCIDRs: []string{"10.0.0.0/8"}})
	})
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if refused.Load() < int64(len(corpus)) {
		t.Errorf("only %d refusals", refused.Load())
	}
	t.Logf("tried: %d destinations of %d entries; %d refused as prohibited", tried.Load(), len(corpus), refused.Load())
}
