package main

import (
	"bytes"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What the upstream serves. All of it is known beforehand, so that the client can tell a wrong answer.
const (
	smallPath = "/small" // smallBody
	bulkPath  = "/bulk"  // ?bytes=N: the small body again and again
	eventPath = "/events"
	// eventGap is the time between two events of a stream.
	eventGap = 10 * time.Millisecond
)

// smallBody is the answer of 1 KiB.
var smallBody = bytes.Repeat([]byte("0123456789abcdef"), 64)

// part is one process that bench starts itself as.
type part struct {
	dir  string // certificates and the upstream's key
	next string // address of the next hop
}

// serve runs until ctx is done. The address it listens on is the first line of its output.
func (p part) serve(ctx context.Context, role string) error {
	serve, ok := map[string]func() (http.Handler, *tls.Config, error){
		"upstream": p.upstream, "proxy-spoke": p.proxySpoke, "proxy-hub": p.proxyHub,
	}[role]
	if !ok {
		return fmt.Errorf("role %q does not exist; use upstream, proxy-spoke or proxy-hub", role)
	}
	handler, config, err := serve()
	if err != nil {
		return fmt.Errorf("%s: %w", role, err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Println(listener.Addr()); err != nil {
		return err
	}
	server := &http.Server{Handler: handler, TLSConfig: config, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(os.Stderr, "", 0)}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() }) // it ends; nobody is told
	defer stopped()
	if config == nil {
		err = server.Serve(listener)
	} else {
		err = server.ServeTLS(listener, "", "")
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// readKey reads the value that the upstream wants in Authorization; it is in a file because arguments can be seen by all.
func (p part) readKey() (string, error) {
	key, err := os.ReadFile(filepath.Join(p.dir, keyFile))
	return strings.TrimSpace(string(key)), err
}

func (p part) upstream() (http.Handler, *tls.Config, error) {
	key, err := p.readKey()
	if err != nil {
		return nil, nil, err
	}
	config, err := serverTLS(p.dir, upstreamName)
	if err != nil {
		return nil, nil, err
	}
	config.NextProtos = []string{"http/1.1"} // the same protocol for every hub
	return upstreamHandler("Bearer " + key), config, nil
}

func upstreamHandler(authorization string) http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET "+smallPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(smallBody)))
		_, _ = w.Write(smallBody) // the client counts what did not arrive
	})
	m.HandleFunc("GET "+bulkPath, serveBulk)
	m.HandleFunc("GET "+eventPath, serveEvents)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header["Authorization"]; len(got) != 1 || subtle.ConstantTimeCompare([]byte(got[0]), []byte(authorization)) != 1 {
			http.Error(w, "not the upstream's key", http.StatusUnauthorized)
			return
		}
		m.ServeHTTP(w, r)
	})
}

// bulkBlock is written at once: larger than a TLS record and than any buffer on the way.
var bulkBlock = bytes.Repeat(smallBody, 64)

func serveBulk(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.FormValue("bytes"), 10, 64)
	if err != nil || n < 0 {
		http.Error(w, "bytes is not a number", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	for n > 0 {
		block := bulkBlock[:min(int64(len(bulkBlock)), n)]
		if _, err := w.Write(block); err != nil {
			return // the client sees a short body
		}
		n -= int64(len(block))
	}
}

// serveEvents sends ?count=N events, each with its number and the time it was sent at (Unix time in ns).
func serveEvents(w http.ResponseWriter, r *http.Request) {
	count, err := strconv.Atoi(r.FormValue("count"))
	if err != nil || count < 0 {
		http.Error(w, "count is not a number", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	gap := time.NewTicker(eventGap)
	defer gap.Stop()
	for i := range count {
		select {
		case <-r.Context().Done():
			return
		case <-gap.C:
		}
		if _, err := io.WriteString(w, event(i, time.Now())); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
	}
}

// event is one event of the stream; parseEvent reads its data line.
func event(number int, sent time.Time) string {
	return fmt.Sprintf("data: %d %d\n\n", number, sent.UnixNano())
}

func parseEvent(line string) (number int, sent time.Time, err error) {
	var nanos int64
	if _, err := fmt.Sscanf(line, "data: %d %d\n", &number, &nanos); err != nil {
		return 0, time.Time{}, fmt.Errorf("event %q: %w", line, err)
	}
	return number, time.Unix(0, nanos), nil
}
