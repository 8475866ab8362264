package origin_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/testkit/origin"
)

// client speaks one protocol to an origin, whatever name is asked for.
func client(t *testing.T, o *origin.Origin, h2 bool) *http.Client {
	t.Helper()
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", o.Addr().String())
		},
		Protocols: new(http.Protocols),
	}
	if o.CA != nil {
		tr.TLSClientConfig = &tls.Config{RootCAs: o.CA.Pool()}
		tr.Protocols.SetHTTP2(h2)
	} else {
		tr.Protocols.SetUnencryptedHTTP2(h2)
	}
	tr.Protocols.SetHTTP1(!h2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func each(t *testing.T, f func(t *testing.T, o *origin.Origin, c *http.Client, base string)) {
	for _, tc := range []struct {
		name  string
		plain bool
		h2    bool
	}{
		{"https, http/1.1", false, false},
		{"https, h2", false, true},
		{"cleartext, http/1.1", true, false},
		{"cleartext, h2 with prior knowledge", true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var opts []origin.Option
			scheme := "https"
			if tc.plain {
				opts, scheme = append(opts, origin.Plain()), "http"
			}
			o := origin.Start(t, opts...)
			f(t, o, client(t, o, tc.h2), fmt.Sprintf("%s://%s:%d", scheme, o.Name(), o.Port()))
		})
	}
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Request-Id", "r1")
	res, err := c.Do(req)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("GET %s: body: %v", url, err)
	}
	_ = res.Body.Close()
	return res, string(body)
}

func TestItCountsWhatArrives(t *testing.T) {
	each(t, func(t *testing.T, o *origin.Origin, c *http.Client, base string) {
		get(t, c, base+"/a?x=1")
		get(t, c, base+"/a")
		get(t, c, base+"/b")
		if o.Count("/a") != 2 || o.Count("/b") != 1 || o.CountID("r1") != 3 || o.Total() != 3 {
			t.Errorf("counts: /a %d, /b %d, id %d, total %d; want 2, 1, 3, 3", o.Count("/a"), o.Count("/b"), o.CountID("r1"), o.Total())
		}
		a := o.Wait(t, "/a", 1)
		if a.RawQuery != "x=1" || a.Method != http.MethodGet || !strings.HasPrefix(a.Host, o.Name()) {
			t.Errorf("first arrival: %+v", a)
		}
		if o.Connections() != 1 {
			t.Errorf("%d connections, want 1", o.Connections())
		}
	})
}

func TestAScriptRunsStepByStepAndItsLastStepStays(t *testing.T) {
	each(t, func(t *testing.T, o *origin.Origin, c *http.Client, base string) {
		o.On("/s", origin.Status(503, "Retry-After", "1"), origin.Status(429), origin.Status(200))
		var got []int
		for range 4 {
			res, _ := get(t, c, base+"/s")
			got = append(got, res.StatusCode)
		}
		if want := []int{503, 429, 200, 200}; !slices.Equal(got, want) {
			t.Errorf("statuses %v, want %v", got, want)
		}
	})
}

func TestStandingBehaviours(t *testing.T) {
	each(t, func(t *testing.T, o *origin.Origin, c *http.Client, base string) {
		if res, _ := get(t, c, base+"/status/418?retry-after=7"); res.StatusCode != 418 || res.Header.Get("Retry-After") != "7" {
			t.Errorf("/status/418: %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
		}
		if _, body := get(t, c, base+"/bytes?n=70000"); len(body) != 70000 {
			t.Errorf("/bytes: %d bytes", len(body))
		}
		res, body := get(t, c, base+"/trailers")
		if body != "body" || res.Trailer.Get("X-Sum") != "4" || res.Trailer.Get("X-Late") != "yes" {
			t.Errorf("/trailers: %q, trailers %v", body, res.Trailer)
		}
		if res, _ := get(t, c, base+"/redirect?to=http://elsewhere.example/"); res.StatusCode != 302 || res.Header.Get("Location") != "http://elsewhere.example/" {
			t.Errorf("/redirect: %d to %q", res.StatusCode, res.Header.Get("Location"))
		}
	})
}

func TestResetComesInPlaceOfAnAnswer(t *testing.T) {
	each(t, func(t *testing.T, o *origin.Origin, c *http.Client, base string) {
		// A body that cannot be sent again keeps the client from trying a second time.
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/reset", io.MultiReader(strings.NewReader("x")))
		if res, err := c.Do(req); err == nil {
			t.Fatalf("status %d, want a reset", res.StatusCode)
		}
		if n := o.Count("/reset"); n != 1 {
			t.Errorf("%d arrivals, want 1", n)
		}
	})
}

func TestResetInMidBodyNeverLooksComplete(t *testing.T) {
	each(t, func(t *testing.T, _ *origin.Origin, c *http.Client, base string) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/reset-body?n=100", nil)
		res, err := c.Do(req)
		if err != nil {
			return // the reset may overtake the head
		}
		defer func() { _ = res.Body.Close() }()
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("the body ended cleanly")
		}
	})
}

func TestEchoSendsBackWhileItReads(t *testing.T) {
	each(t, func(t *testing.T, _ *origin.Origin, c *http.Client, base string) {
		pr, pw := io.Pipe()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/echo", pr)
		req.Trailer = http.Header{"X-End": nil}
		go func() { _, _ = io.WriteString(pw, "one\n") }()
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		br := bufio.NewReader(res.Body)
		if line, err := br.ReadString('\n'); line != "one\n" {
			t.Fatalf("first line %q, %v", line, err)
		}
		go func() {
			_, _ = io.WriteString(pw, "two")
			req.Trailer.Set("X-End", "bye")
			_ = pw.Close()
		}()
		rest, err := io.ReadAll(br)
		if string(rest) != "two" || err != nil {
			t.Fatalf("rest %q, %v", rest, err)
		}
		if got := res.Trailer.Get("X-End"); got != "bye" {
			t.Errorf("trailer %q, want bye", got)
		}
	})
}

func TestEarlyHintsComeFirst(t *testing.T) {
	each(t, func(t *testing.T, _ *origin.Origin, c *http.Client, base string) {
		var early []int
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { early = append(early, code); return nil },
		})
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, base+"/early", nil)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if !slices.Equal(early, []int{103}) {
			t.Errorf("informational responses %v, want 103", early)
		}
	})
}

func TestACancelledRequestIsSeenAsSuch(t *testing.T) {
	each(t, func(t *testing.T, o *origin.Origin, c *http.Client, base string) {
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, base+"/slow", nil)
		failed := make(chan error, 1)
		go func() {
			_, err := c.Do(req)
			failed <- err
		}()
		a := o.Wait(t, "/slow", 1)
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want context.Canceled", err)
		}
		<-a.Gone
		if !a.Cancelled() {
			t.Error("the origin did not see the cancel")
		}
	})
}

func TestReleaseEndsAnEventStream(t *testing.T) {
	each(t, func(t *testing.T, o *origin.Origin, c *http.Client, base string) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/sse?n=2", nil)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		br := bufio.NewReader(res.Body)
		if line, err := br.ReadString('\n'); line != "data: 0\n" {
			t.Fatalf("first event %q, %v", line, err)
		}
		o.Release()
		if rest, err := io.ReadAll(br); err != nil || !strings.Contains(string(rest), "data: 1") {
			t.Fatalf("rest %q, %v", rest, err)
		}
	})
}
