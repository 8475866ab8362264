package main

import (
	"crypto/tls"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
)

// The plain chain: what one writes in Go in an afternoon, with the pools and buffers a careful engineer would give it.

// proxySpoke takes plain HTTP/1.1 and passes it on by HTTP/2 over mutual TLS.
func (p part) proxySpoke() (http.Handler, *tls.Config, error) {
	config, err := clientTLS(p.dir, hubName, spokeName)
	if err != nil {
		return nil, nil, err
	}
	return reverseProxy(p.next, &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}, ""), nil, nil
}

// proxyHub takes HTTP/2 from clients with a certificate and passes it on by HTTP/1.1 over TLS with the upstream's key.
func (p part) proxyHub() (http.Handler, *tls.Config, error) {
	key, err := p.readKey()
	if err != nil {
		return nil, nil, err
	}
	outside, err := clientTLS(p.dir, upstreamName, "")
	if err != nil {
		return nil, nil, err
	}
	inside, err := serverTLS(p.dir, hubName)
	if err != nil {
		return nil, nil, err
	}
	if inside.ClientCAs, err = readRoots(p.dir); err != nil {
		return nil, nil, err
	}
	inside.ClientAuth = tls.RequireAndVerifyClientCert
	inside.VerifyConnection = onlyName(spokeName) // the upstream's certificate is of the same CA
	inside.NextProtos = []string{"h2"}
	transport := &http.Transport{TLSClientConfig: outside, MaxIdleConnsPerHost: 1024, DisableCompression: true}
	return reverseProxy(p.next, transport, "Bearer "+key), inside, nil
}

// reverseProxy sends everything to next; authorization, unless empty, replaces what the client sent.
func reverseProxy(next string, transport *http.Transport, authorization string) http.Handler {
	target := &url.URL{Scheme: "https", Host: next}
	return &httputil.ReverseProxy{
		Transport: transport, BufferPool: &bufferPool{},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			if authorization != "" {
				r.Out.Header.Set("Authorization", authorization)
			}
		},
	}
}

func onlyName(name string) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		return s.PeerCertificates[0].VerifyHostname(name)
	}
}

// bufferPool keeps ReverseProxy from making 32 KiB of garbage a request.
type bufferPool struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *bufferPool) Get() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, 32<<10)
}

// Put implements httputil.BufferPool.
func (b *bufferPool) Put(buf []byte) { b.pool.Put(&buf) }
