package xconnect

import "testing"

func TestWhatGodebugHeldIsKept(t *testing.T) {
	for _, c := range []struct{ name, held, want string }{
		{"nothing was set", "", "http2xconnect=1"},
		{"other settings stay", "gctrace=1,http2debug=1", "gctrace=1,http2debug=1,http2xconnect=1"},
		{"who has switched it off keeps that", "http2xconnect=0", "http2xconnect=0"},
		{"beside others too", "gctrace=1, http2xconnect=0", "gctrace=1, http2xconnect=0"},
		{"it is not set twice", "http2xconnect=1", "http2xconnect=1"},
		{"a longer name is another setting", "http2xconnects=0", "http2xconnects=0,http2xconnect=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := with(c.held); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
