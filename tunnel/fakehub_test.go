package tunnel_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"penstock.dev/penstock/tunnel"
	"penstock.dev/penstock/tunnel/bhttp"
	"penstock.dev/penstock/tunnel/tunneltest"
)

// fakeHub plays a hub: it answers control exchanges with 204, and hands every other stream with a head to play. The
// watch is left open.
func fakeHub(t *testing.T, w *tunneltest.World, name string, play func(conn *quic.Conn, str *quic.Stream, rd *bhttp.Reader)) tunnel.Hub {
	t.Helper()
	addr := netip.MustParseAddrPort("10.3.0.1:8443")
	pc := w.Listen(addr)
	tr := &quic.Transport{Conn: pc}
	config := tunnel.TLSFor(w.CA.Hub("fake"), tunnel.RoleSpoke, x509.ExtKeyUsageClientAuth)
	ln, err := tr.Listen(config, &quic.Config{MaxIdleTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stream := func(conn *quic.Conn, str *quic.Stream) {
		rd := bhttp.NewReader(str, bhttp.Limits{})
		for {
			head, err := rd.ReadRequestHead()
			if err != nil {
				str.CancelWrite(0)
				return
			}
			switch {
			case head.Authority != tunnel.ControlAuthority:
				play(conn, str, rd)
				return
			case head.Path == "/v1/watch":
				<-conn.Context().Done()
				return
			}
			if _, err := io.Copy(io.Discard, rd); err != nil {
				return
			}
			str.Write(whole(204, ""))
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept(ctx)
			if err != nil {
				return
			}
			go func() {
				for {
					str, err := conn.AcceptStream(ctx)
					if err != nil {
						return
					}
					go stream(conn, str)
				}
			}()
		}
	}()
	t.Cleanup(func() { cancel(); <-done; tr.Close(); pc.Close() })
	return tunnel.Hub{Name: name, Address: addr.String()}
}

// whole is a response as bytes.
func whole(status int, content string) []byte {
	out, err := bhttp.AppendResponseHead(nil, &bhttp.ResponseHead{Status: status}, true)
	if err == nil {
		out, err = bhttp.AppendEnd(bhttp.AppendContent(out, []byte(content)), nil)
	}
	if err != nil {
		panic(err)
	}
	return out
}

func part(status int, content string) []byte {
	out := whole(status, content)
	return out[:len(out)-2] // without the end of content and trailers
}

// TestProofs is B.1 and rows 5, 6, 9 and 10 of B.3: what the spoke may conclude from what a hub does.
func TestProofs(t *testing.T) {
	type hub = func(conn *quic.Conn, str *quic.Stream, rd *bhttp.Reader)
	for _, tc := range []struct {
		name     string
		play     hub
		response bool // the head arrives; the error is that of the body
		want     error
		proof    string
	}{
		{"rejected before any response byte", func(_ *quic.Conn, str *quic.Stream, _ *bhttp.Reader) {
			str.CancelWrite(tunnel.CodeRejected)
			str.CancelRead(tunnel.CodeRejected)
		}, false, tunnel.ErrRejected, "P2"},
		{"rejected, only our sending told", func(conn *quic.Conn, str *quic.Stream, _ *bhttp.Reader) {
			str.CancelRead(tunnel.CodeRejected)
			time.Sleep(time.Second)
			conn.CloseWithError(0, "")
		}, false, tunnel.ErrPeerLost, ""},
		{
			"FIN before any response byte", func(_ *quic.Conn, str *quic.Stream, _ *bhttp.Reader) { str.Close() },
			false, tunnel.ErrEnded, "P2",
		},
		{"cancelled before any response byte", func(_ *quic.Conn, str *quic.Stream, _ *bhttp.Reader) {
			str.CancelWrite(tunnel.CodeCancelled)
		}, false, tunnel.ErrCancelled, ""},
		{"rejected after a 103", func(_ *quic.Conn, str *quic.Stream, _ *bhttp.Reader) {
			out, _ := bhttp.AppendInformational(nil, &bhttp.ResponseHead{Status: 103}, true)
			str.Write(out)
			time.Sleep(time.Second)
			str.CancelWrite(tunnel.CodeRejected)
		}, false, tunnel.ErrCancelled, ""},
		{"rejected after one byte of a head", func(_ *quic.Conn, str *quic.Stream, _ *bhttp.Reader) {
			str.Write([]byte{3})
			time.Sleep(time.Second)
			str.CancelWrite(tunnel.CodeRejected)
		}, false, tunnel.ErrCancelled, ""},
		{"FIN after one byte of a head", func(_ *quic.Conn, str *quic.Stream, _ *bhttp.Reader) {
			str.Write([]byte{3})
			str.Close()
		}, false, tunnel.ErrMalformed, ""},
		{"rejected within the content", func(_ *quic.Conn, str *quic.Stream, _ *bhttp.Reader) {
			str.Write(part(200, "hel"))
			time.Sleep(time.Second)
			str.CancelWrite(tunnel.CodeRejected)
		}, true, tunnel.ErrCancelled, ""},
		{"FIN within the content", func(_ *quic.Conn, str *quic.Stream, _ *bhttp.Reader) {
			str.Write(part(200, "hel"))
			str.Close()
		}, true, tunnel.ErrMalformed, ""},
		{"the connection closes after the head was sent", func(conn *quic.Conn, _ *quic.Stream, _ *bhttp.Reader) {
			conn.CloseWithError(0, "")
		}, false, tunnel.ErrPeerLost, ""},
		{"the connection closes with the code of rejected", func(conn *quic.Conn, _ *quic.Stream, _ *bhttp.Reader) {
			conn.CloseWithError(quic.ApplicationErrorCode(tunnel.CodeRejected), "")
		}, false, tunnel.ErrPeerLost, ""},
		{"the connection closes within the content", func(conn *quic.Conn, str *quic.Stream, _ *bhttp.Reader) {
			str.Write(part(200, "hel"))
			time.Sleep(time.Second)
			conn.CloseWithError(0, "")
		}, true, tunnel.ErrPeerLost, ""},
		{"an answer that is none", func(_ *quic.Conn, str *quic.Stream, _ *bhttp.Reader) {
			str.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		}, false, tunnel.ErrMalformed, ""},
		{"informational responses without end", func(_ *quic.Conn, str *quic.Stream, _ *bhttp.Reader) {
			for first := true; ; first = false {
				out, _ := bhttp.AppendInformational(nil, &bhttp.ResponseHead{Status: 103}, first)
				if _, err := str.Write(out); err != nil {
					return
				}
			}
		}, false, tunnel.ErrMalformed, ""},
		{"a 101 that nobody asked for", func(_ *quic.Conn, str *quic.Stream, _ *bhttp.Reader) {
			out, _ := bhttp.AppendInformational(nil, &bhttp.ResponseHead{Status: 101}, true)
			str.Write(out)
		}, false, tunnel.ErrMalformed, ""},
		{"content with a 204", func(_ *quic.Conn, str *quic.Stream, rd *bhttp.Reader) {
			io.Copy(io.Discard, rd)
			str.Write(whole(204, "hello"))
		}, false, tunnel.ErrMalformed, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := tunneltest.New(t, tunneltest.Hubs(0))
				hub := fakeHub(t, w, "fake", tc.play)
				cfg, _ := w.Config("east")
				c := w.Start(t, cfg)
				c.SetHubs([]tunnel.Hub{hub})
				for _, streamed := range []bool{false, true} {
					body := &countingBody{Reader: strings.NewReader("hello")}
					req := post(t, "/", body)
					if req.ContentLength = 5; streamed {
						req.ContentLength = -1
					}
					res, err := c.RoundTrip(req)
					if tc.response {
						if err != nil {
							t.Fatalf("RoundTrip error = %v, want a response", err)
						}
						_, err = io.ReadAll(res.Body)
						res.Body.Close()
					}
					var e *tunnel.Error
					if !errors.Is(err, tc.want) || !errors.As(err, &e) || e.Proof != tc.proof || e.Hub != "fake" {
						t.Errorf("streamed %v: error = %v, want %v with proof %q", streamed, err, tc.want, tc.proof)
					}
					if errors.Is(err, io.EOF) && tc.want != tunnel.ErrEnded {
						t.Errorf("error %v looks like a clean end", err)
					}
					synctest.Wait()
					if closes := body.closes; closes > 1 || (closes == 1) != (tc.proof == "") {
						t.Errorf("streamed %v: body closed %d times with proof %q", streamed, closes, tc.proof)
					}
					if s := c.Status()[0]; s.Outstanding != 0 {
						t.Errorf("outstanding = %d, want 0", s.Outstanding)
					}
					time.Sleep(10 * time.Second) // a new connection, where the old one is gone
				}
			})
		})
	}
}

// TestRejectedLeavesTheBodyToTheNextTry: the stalled upload of a rejected request does not steal bytes from the next one.
func TestRejectedLeavesTheBodyToTheNextTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Hubs(0))
		hub := fakeHub(t, w, "fake", func(_ *quic.Conn, str *quic.Stream, _ *bhttp.Reader) {
			str.CancelWrite(tunnel.CodeRejected)
			str.CancelRead(tunnel.CodeRejected)
		})
		cfg, _ := w.Config("east")
		c := w.Start(t, cfg)
		c.SetHubs([]tunnel.Hub{hub})
		pr, pw := io.Pipe()
		go func() {
			time.Sleep(time.Second)
			io.WriteString(pw, "first")
			io.WriteString(pw, "second")
		}()
		_, err := c.RoundTrip(post(t, "/", pr))
		if !errors.Is(err, tunnel.ErrRejected) {
			t.Fatalf("RoundTrip error = %v, want ErrRejected", err)
		}
		buf := make([]byte, 20)
		n, err := pr.Read(buf)
		if got := string(buf[:n]); err != nil || got != "second" {
			t.Errorf("after the rejected try the body goes on with %q, %v, want %q", got, err, "second")
		}
	})
}

// TestRejectedMarksTheConnectionDraining: the next try is elsewhere (B.1).
func TestRejectedMarksTheConnectionDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t)
		hub := fakeHub(t, w, "fake", func(_ *quic.Conn, str *quic.Stream, _ *bhttp.Reader) {
			str.CancelWrite(tunnel.CodeRejected)
			str.CancelRead(tunnel.CodeRejected)
		})
		cfg, _ := w.Config("east")
		c := w.Start(t, cfg)
		c.SetHubs(append(w.Addresses(), hub))
		time.Sleep(time.Second)
		rejections := 0
		for range 20 {
			var tries tunnel.Tries
			ctx := tunnel.WithTries(t.Context(), &tries)
			res, err := c.RoundTrip(request(ctx, t, "GET", "/", nil))
			if err != nil {
				if !errors.Is(err, tunnel.ErrRejected) {
					t.Fatalf("RoundTrip error = %v, want ErrRejected", err)
				}
				rejections++
				if res, err = c.RoundTrip(request(ctx, t, "GET", "/", nil)); err != nil {
					t.Fatalf("second try: %v", err)
				}
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		if rejections == 0 || rejections > 2 {
			t.Errorf("%d rejections, want the first to keep requests away for a while", rejections)
		}
	})
}

// TestUnopenedConnectionTakesNothing: a handshake is no tunnel; without an answer to the first exchange it is P1.
func TestUnopenedConnectionTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		served := 0
		w := tunneltest.New(t, tunneltest.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ })))
		cfg, _ := w.Config("east")
		cfg.Open = func(ctx context.Context, _ tunnel.Hub, _ http.RoundTripper) error {
			<-ctx.Done()
			return ctx.Err()
		}
		c := w.Start(t, cfg)
		start := time.Now()
		_, err := c.RoundTrip(get(t, "/"))
		var e *tunnel.Error
		if !errors.Is(err, tunnel.ErrNoTunnel) || !errors.As(err, &e) || e.Proof != "P1" {
			t.Errorf("RoundTrip error = %v, want ErrNoTunnel with P1", err)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("gave up after %v, want the dial's 3 s", took)
		}
		if served != 0 {
			t.Error("a request was sent on a connection that was not open")
		}
	})
}
