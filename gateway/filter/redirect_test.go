package filter

import (
	"net/http"
	"net/url"
	"testing"

	"penstock.dev/penstock/gateway/route"
)

func TestWhereARedirectLeads(t *testing.T) {
	path := func(s string) *string { return &s }
	clear, secure := &route.Listener{Protocol: route.ProtocolHTTP, Port: 80}, &route.Listener{Protocol: route.ProtocolHTTPS, Port: 443}
	odd := &route.Listener{Protocol: route.ProtocolHTTP, Port: 8080}
	prefix := &route.Match{PathType: route.PathPrefix, Path: "/old"}
	for _, c := range []struct {
		name     string
		listener *route.Listener
		host     string
		target   string
		redirect route.Redirect
		match    *route.Match
		want     string // empty: refused
	}{
		{"to https, with the port that belongs to it", odd, "a.example.com:8080", "/x?q=1", route.Redirect{Scheme: "https"}, nil, "https://a.example.com/x?q=1"},
		{"to another host, on the listener's port", odd, "a.example.com:8080", "/x", route.Redirect{Hostname: "b.example.com"}, nil, "http://b.example.com:8080/x"},
		{"the scheme's own port is not written", clear, "a.example.com", "/x", route.Redirect{Hostname: "b.example.com"}, nil, "http://b.example.com/x"},
		{"nor that of https", secure, "a.example.com", "/x", route.Redirect{Hostname: "b.example.com"}, nil, "https://b.example.com/x"},
		{"the port that is named", clear, "a.example.com", "/x", route.Redirect{Port: 8443, Scheme: "https"}, nil, "https://a.example.com:8443/x"},
		{"port 80 of https is written", clear, "a.example.com", "/x", route.Redirect{Port: 80, Scheme: "https"}, nil, "https://a.example.com:80/x"},
		{"to another path", clear, "a.example.com", "/old/x?q=1", route.Redirect{FullPath: path("/new")}, prefix, "http://a.example.com/new?q=1"},
		{"to another prefix", clear, "a.example.com", "/old/x%2Fy?q=1", route.Redirect{PrefixPath: path("/new/")}, prefix, "http://a.example.com/new/x%2Fy?q=1"},
		{"the prefix alone", clear, "a.example.com", "/old", route.Redirect{PrefixPath: path("/")}, prefix, "http://a.example.com/"},
		{"an address in brackets", clear, "[2001:db8::1]:80", "/", route.Redirect{Scheme: "https"}, nil, "https://[2001:db8::1]/"},
		{"an address in brackets, with a port", clear, "[2001:db8::1]", "/", route.Redirect{Port: 81}, nil, "http://[2001:db8::1]:81/"},
		{"a host with a user is none", clear, "u@a.example.com", "/", route.Redirect{Scheme: "https"}, nil, ""},
		{"a host with a slash is none", clear, "a.example.com/x", "/", route.Redirect{Scheme: "https"}, nil, ""},
		{"no host", clear, "", "/", route.Redirect{Scheme: "https"}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, err := url.ParseRequestURI(c.target)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Location(&http.Request{Host: c.host, URL: u}, &c.redirect, c.match, c.listener)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}
