// Command provider stands in for an external model provider: HTTPS with a CA of its own, an API key it insists on, token
// streams by SSE, and failures on demand. It shares no code with Penstock, so that what it sees is evidence.
//
//	POST /v1/chat/completions   {"model": "...", "stream": true|false, ...}
//	GET  /v1/models
//	POST /v1/callback           calls the URL of -callback with the tags it was called with, and answers its status
//
// The control listener is plain HTTP for whoever runs the demo:
//
//	GET  /arrivals                     what arrived, by path and by request id
//	POST /fail?times=2&status=503      the next requests fail
//	POST /keys                         body: the API keys accepted from now on, one a line
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	var (
		listen   = flag.String("listen", "127.0.0.1:0", "HTTPS address")
		control  = flag.String("control", "127.0.0.1:0", "control address (plain HTTP, for the demo)")
		host     = flag.String("host", "api.provider.example", "name in the certificate")
		caOut    = flag.String("ca-out", "", "file to write the CA certificate to (PEM)")
		keyFile  = flag.String("keys", "", "file with the API keys accepted, one a line")
		callback = flag.String("callback", "", "URL that /v1/callback calls")
		backHost = flag.String("callback-host", "", "Host of that call; empty: the URL's")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := &provider{callback: *callback, callbackHost: *backHost, paths: map[string]int{}, ids: map[string]int{}}
	if err := run(ctx, p, *listen, *control, *host, *caOut, *keyFile); err != nil {
		fmt.Fprintln(os.Stderr, "provider:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, p *provider, listen, control, host, caOut, keyFile string) error {
	ca, leaf, err := certificates(host)
	if err != nil {
		return err
	}
	if caOut != "" {
		if err := os.WriteFile(caOut, ca, 0o644); err != nil {
			return fmt.Errorf("write the CA: %w", err)
		}
	}
	if keyFile != "" {
		keys, err := os.ReadFile(keyFile)
		if err != nil {
			return fmt.Errorf("read the keys: %w", err)
		}
		p.setKeys(string(keys))
	}
	tlsListener, err := tls.Listen("tcp", listen, &tls.Config{
		Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	})
	if err != nil {
		return err
	}
	controlListener, err := net.Listen("tcp", control)
	if err != nil {
		return errors.Join(err, tlsListener.Close())
	}
	fmt.Printf("provider: https://%s for %s, control http://%s\n", tlsListener.Addr(), host, controlListener.Addr())
	quiet := log.New(io.Discard, "", 0) // a refused handshake is the client's news, not ours
	api := &http.Server{Handler: p.api(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet}
	ctl := &http.Server{Handler: p.control(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet}
	ended := make(chan error, 2)
	go func() { ended <- api.Serve(tlsListener) }()
	go func() { ended <- ctl.Serve(controlListener) }()
	running := 2
	select {
	case <-ctx.Done():
	case err = <-ended:
		running--
	}
	api.Close()
	ctl.Close()
	for range running {
		if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// certificates makes a CA and a server certificate for host, both for a day.
func certificates(host string) (ca []byte, leaf tls.Certificate, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, leaf, err
	}
	now := time.Now()
	caTemplate := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "Stand-in provider CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, caTemplate, caTemplate, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, leaf, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, leaf, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, caTemplate, &key.PublicKey, caKey)
	if err != nil {
		return nil, leaf, err
	}
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	return ca, tls.Certificate{Certificate: [][]byte{der, caDER}, PrivateKey: key}, nil
}

// provider counts what arrives and answers.
type provider struct {
	callback, callbackHost string

	mu         sync.Mutex
	keys       []string
	failTimes  int
	failStatus int
	paths, ids map[string]int
	leaks      []string // names of headers that should never have left the trust domain
	wrongKeys  int
}

func (p *provider) setKeys(lines string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = strings.Fields(lines)
}

// arrive counts the request and says whether its key is good and whether it is to fail.
func (p *provider) arrive(r *http.Request) (keyGood bool, failStatus int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paths[r.Method+" "+r.URL.Path]++
	if id := r.Header.Get("X-Demo-Id"); id != "" {
		p.ids[id]++
	}
	for name := range r.Header {
		if strings.HasPrefix(strings.ToLower(name), "penstock") {
			p.leaks = append(p.leaks, name)
		}
	}
	got := r.Header.Values("Authorization")
	if len(got) == 1 {
		token, isBearer := strings.CutPrefix(got[0], "Bearer ")
		for _, k := range p.keys {
			keyGood = keyGood || isBearer && subtle.ConstantTimeCompare([]byte(token), []byte(k)) == 1
		}
	}
	if !keyGood {
		p.wrongKeys++
	}
	if p.failTimes > 0 {
		p.failTimes--
		return keyGood, p.failStatus
	}
	return keyGood, 0
}

func (p *provider) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"object": "list", "data": []map[string]string{{"id": "stand-in-1", "object": "model"}}})
	})
	mux.HandleFunc("POST /v1/chat/completions", p.complete)
	mux.HandleFunc("POST /v1/callback", p.callBack)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		good, status := p.arrive(r)
		if !good {
			answer(w, http.StatusUnauthorized, map[string]any{"error": map[string]string{"type": "invalid_api_key", "message": "Incorrect API key provided."}})
			return
		}
		if status != 0 {
			answer(w, status, map[string]any{"error": map[string]string{"type": "server_error", "message": "The server is told to fail."}})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (p *provider) complete(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Model  string `json:"model"`
		Stream bool   `json:"stream"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&req); err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]string{"type": "invalid_request", "message": err.Error()}})
		return
	}
	words := strings.Fields("Water finds its way through the penstock .")
	if !req.Stream {
		answer(w, http.StatusOK, map[string]any{"object": "chat.completion", "model": req.Model, "choices": []map[string]any{
			{"index": 0, "message": map[string]string{"role": "assistant", "content": strings.Join(words, " ")}},
		}})
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	for _, word := range words {
		chunk, err := json.Marshal(map[string]any{"object": "chat.completion.chunk", "model": req.Model, "choices": []map[string]any{
			{"index": 0, "delta": map[string]string{"content": word + " "}},
		}})
		if err != nil {
			return
		}
		fmt.Fprintf(w, "data: %s\n\n", chunk)
		if flush.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(30 * time.Millisecond): // a model that thinks between two tokens
		}
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// callBack is an outside service that leads back in: it keeps the tags it was called with, as ordinary proxies do.
func (p *provider) callBack(w http.ResponseWriter, r *http.Request) {
	if p.callback == "" {
		answer(w, http.StatusNotImplemented, map[string]any{"error": "started without -callback"})
		return
	}
	out, err := http.NewRequestWithContext(r.Context(), http.MethodPost, p.callback, nil)
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]any{"error": err.Error()})
		return
	}
	out.Host = p.callbackHost
	out.Header["Cdn-Loop"] = r.Header["Cdn-Loop"]
	res, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		answer(w, http.StatusBadGateway, map[string]any{"error": err.Error()})
		return
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	answer(w, http.StatusOK, map[string]any{"status": res.StatusCode, "proxyStatus": res.Header.Get("Proxy-Status"), "body": string(body)})
}

func (p *provider) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /arrivals", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		answer(w, http.StatusOK, map[string]any{"paths": p.paths, "ids": p.ids, "leaks": p.leaks, "wrongKeys": p.wrongKeys})
	})
	mux.HandleFunc("POST /fail", func(w http.ResponseWriter, r *http.Request) {
		times, err1 := strconv.Atoi(r.FormValue("times"))
		status, err2 := strconv.Atoi(r.FormValue("status"))
		if err := errors.Join(err1, err2); err != nil || status < 400 || status > 599 {
			answer(w, http.StatusBadRequest, map[string]any{"error": "give times=N and status=4xx or 5xx"})
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.failTimes, p.failStatus = times, status
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /keys", func(w http.ResponseWriter, r *http.Request) {
		keys, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
		if err != nil {
			answer(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
			return
		}
		p.setKeys(string(keys))
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that went away is no error of ours
}
