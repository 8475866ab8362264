package filter

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/gateway/route"
)

func TestWhichOriginsFit(t *testing.T) {
	for _, c := range []struct {
		name, pattern, origin string
		want                  bool
	}{
		{"the same", "https://app.example.com", "https://app.example.com", true},
		{"case does not count", "https://app.example.com", "https://App.Example.com", true},
		{"the scheme does", "https://app.example.com", "http://app.example.com", false},
		{"the scheme's own port may be written", "https://app.example.com", "https://app.example.com:443", true},
		{"another port does not fit", "https://app.example.com", "https://app.example.com:8443", false},
		{"a port that is wanted", "http://app.example.com:3000", "http://app.example.com:3000", true},
		{"a wildcard is one label", "https://*.example.com", "https://a.example.com", true},
		{"or several", "https://*.example.com", "https://a.b.example.com", true},
		{"but not none", "https://*.example.com", "https://example.com", false},
		{"nor a part of one", "https://*.example.com", "https://evil-example.com", false},
		{"a wildcard alone is any host", "https://*", "https://anything.test", true},
		{"of its scheme", "https://*", "http://anything.test", false},
		{"and port", "https://*:8443", "https://anything.test", false},
		{"a suffix is no host", "https://example.com", "https://example.com.evil.test", false},
		{"an origin has no path", "https://example.com", "https://example.com/x", false},
		{"nor a user", "https://example.com", "https://u@example.com", false},
		{"null is nobody", "https://*", "null", false},
		{"nothing is nobody", "https://*", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := originFits(c.pattern, c.origin); got != c.want {
				t.Errorf("%q at %q: %v, want %v", c.origin, c.pattern, got, c.want)
			}
		})
	}
}

func TestAnswersToPreflights(t *testing.T) {
	for _, c := range []struct {
		name string
		cors route.CORS
		ask  http.Header
		want http.Header // without Vary
	}{
		{
			"an origin that is allowed",
			route.CORS{AllowOrigins: []string{"https://a.example.com"}, AllowMethods: []string{"GET", "PUT"}, AllowHeaders: []string{"X-A"}, MaxAgeSeconds: 60},
			http.Header{"Origin": {"https://a.example.com"}, "Access-Control-Request-Method": {"DELETE"}},
			http.Header{"Access-Control-Allow-Origin": {"https://a.example.com"}, "Access-Control-Allow-Methods": {"GET, PUT"}, "Access-Control-Allow-Headers": {"X-A"}, "Access-Control-Max-Age": {"60"}},
		},
		{
			"one that is not",
			route.CORS{AllowOrigins: []string{"https://a.example.com"}, AllowMethods: []string{"GET"}},
			http.Header{"Origin": {"https://b.example.com"}, "Access-Control-Request-Method": {"GET"}},
			http.Header{},
		},
		{
			"any, without credentials",
			route.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"*"}, AllowHeaders: []string{"*"}},
			http.Header{"Origin": {"https://b.example.com"}, "Access-Control-Request-Method": {"PUT"}, "Access-Control-Request-Headers": {"x-a"}},
			http.Header{"Access-Control-Allow-Origin": {"*"}, "Access-Control-Allow-Methods": {"*"}, "Access-Control-Allow-Headers": {"*"}},
		},
		{
			"any, with credentials: what was asked for, never a star",
			route.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"*"}, AllowHeaders: []string{"*"}, AllowCredentials: true},
			http.Header{"Origin": {"https://b.example.com"}, "Access-Control-Request-Method": {"PUT"}, "Access-Control-Request-Headers": {"x-a"}},
			http.Header{"Access-Control-Allow-Origin": {"https://b.example.com"}, "Access-Control-Allow-Credentials": {"true"}, "Access-Control-Allow-Methods": {"PUT"}, "Access-Control-Allow-Headers": {"x-a"}},
		},
		{
			"any header with credentials, and none was asked for",
			route.CORS{AllowOrigins: []string{"*"}, AllowHeaders: []string{"*"}, AllowCredentials: true},
			http.Header{"Origin": {"https://b.example.com"}, "Access-Control-Request-Method": {"PUT"}},
			http.Header{"Access-Control-Allow-Origin": {"https://b.example.com"}, "Access-Control-Allow-Credentials": {"true"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := http.Header{}
			AnswerPreflight(got, &c.cors, &http.Request{Method: http.MethodOptions, Header: c.ask})
			if got.Get("Vary") == "" {
				t.Error("the answer depends on the origin, and does not say so")
			}
			delete(got, "Vary")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnswersToPagesOfOtherOrigins(t *testing.T) {
	for _, c := range []struct {
		name   string
		cors   route.CORS
		origin string
		want   http.Header
	}{
		{
			"what the destination said is replaced",
			route.CORS{AllowOrigins: []string{"https://a.example.com"}, ExposeHeaders: []string{"X-Id"}},
			"https://a.example.com",
			http.Header{"Vary": {"Origin"}, "Access-Control-Allow-Origin": {"https://a.example.com"}, "Access-Control-Expose-Headers": {"X-Id"}},
		},
		{"an origin that is not allowed gets nothing", route.CORS{AllowOrigins: []string{"https://a.example.com"}}, "https://b.example.com", http.Header{"Vary": {"Origin"}}},
		{"no origin, nothing", route.CORS{AllowOrigins: []string{"https://a.example.com"}}, "", http.Header{"Vary": {"Origin"}}},
		{"anybody", route.CORS{AllowOrigins: []string{"*"}, ExposeHeaders: []string{"*"}}, "https://b.example.com", http.Header{"Access-Control-Allow-Origin": {"*"}, "Access-Control-Expose-Headers": {"*"}}},
		{
			"anybody with credentials",
			route.CORS{AllowOrigins: []string{"*"}, ExposeHeaders: []string{"*"}, AllowCredentials: true},
			"https://b.example.com",
			http.Header{"Vary": {"Origin"}, "Access-Control-Allow-Origin": {"https://b.example.com"}, "Access-Control-Allow-Credentials": {"true"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{"Access-Control-Allow-Origin": {"https://evil.example.com"}, "Access-Control-Allow-Private-Network": {"true"}}
			MarkResponse(h, &c.cors, c.origin)
			if diff := cmp.Diff(c.want, h); diff != "" {
				t.Error(diff)
			}
		})
	}
}
