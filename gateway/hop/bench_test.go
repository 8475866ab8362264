package hop

import (
	"maps"
	"net/http"
	"testing"
	"time"
)

// The cost of one hop, as a share of what a request may cost in all.

func BenchmarkFromPeer(b *testing.B) {
	in := peerHeader("Accept", "*/*", "Content-Type", "application/json", "User-Agent", "x", headerVia, "1.1 pspoke")
	h := http.Header{}
	b.ReportAllocs()
	for b.Loop() {
		maps.Copy(h, in)
		if _, err := FromPeer(h, "9f00", "east", hub, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkForwardAndWrite(b *testing.B) {
	tags, _, err := FromWorkload(http.Header{}, "openai", spoke, Limits{})
	if err != nil {
		b.Fatal(err)
	}
	h := http.Header{"Accept": {"*/*"}, "Content-Type": {"application/json"}, "User-Agent": {"x"}}
	b.ReportAllocs()
	for b.Loop() {
		next, err := tags.Forward(spoke, time.Millisecond)
		if err != nil {
			b.Fatal(err)
		}
		next.Write(h, spoke)
	}
}

func BenchmarkWriteOutside(b *testing.B) {
	tags := Tags{RequestID: NewRequestID(), Budget: Budget{Hops: 3, Attempts: 3}}
	h := http.Header{"Accept": {"*/*"}, "Content-Type": {"application/json"}, "User-Agent": {"x"}}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		tags.WriteOutside(h, hub, now)
	}
}
