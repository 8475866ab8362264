package hop

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// The property of every parser here: what it accepts can be written, and reads the same again.

func FuzzPath(f *testing.F) {
	for _, seed := range []string{
		`"sp-9f";i="a1", "hub-3c";i="b7"`, `"a"`, `"a";z=?1;i="b";w`, `"a\"b\\c";i="\\"`, "", `"a",`, `"a", "a"`,
		`("a" "b");x`, "a", `"a"   ;i="b"`, `"a";  i="b"`, `"a"` + "\t,\t" + `"b"`, `"a";i=:YQ==:`, `"a";i="b";i="c"`, "\"\x00\"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path, err := parsePath(text)
		if err != nil {
			if !isKind(err, Malformed) {
				t.Fatalf("error = %v, want Malformed", err)
			}
			return
		}
		if len(path) == 0 || len(path) > maxPath {
			t.Fatalf("%d entries", len(path))
		}
		again, err := parsePath(formatPath(path))
		if err != nil || !slices.Equal(path, again) {
			t.Fatalf("%v was written as %s and read as %v, %v", path, formatPath(path), again, err)
		}
	})
}

func FuzzBudget(f *testing.F) {
	for _, seed := range []string{
		"h=3, a=3, t=29480, s=0", "h=255,a=255,t=9223372036854775808,s=0", "h=0, a=1, t=0",
		"h=999999999999999, a=999999999999999, t=999999999999999, s=999999999999999", "h=3, zz=(\"a\" 1.5);x, a=3, t=1, *y;p=1",
		"h=-1, a=3, t=5", "h=1, h=2, a=3, t=5", "h, a=1, t=1", "h=1.0, a=1, t=1", "h=3, a=3, t=1, d=@17, e=%\"f%c3%bc\", f=:YQ:",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lim := Limits{}.withDefaults()
		b, err := parseBudget(text, lim)
		if err != nil {
			if !isKind(err, Malformed) {
				t.Fatalf("error = %v, want Malformed", err)
			}
			return
		}
		if b.Hops < 0 || b.Hops >= lim.Hops || b.Attempts < 1 || b.Attempts > lim.Attempts ||
			b.Headers < 0 || b.Headers > lim.Headers || b.Stream < 0 {
			t.Fatalf("%+v is beyond %+v", b, lim)
		}
		again, err := parseBudget(b.field(), lim)
		if err != nil || again != b {
			t.Fatalf("%+v was written as %s and read as %+v, %v", b, b.field(), again, err)
		}
	})
}

func FuzzSubject(f *testing.F) {
	for _, seed := range []string{
		`ns="team-a", sa="bot", pod="uid", m=token`, `m=ip`, `ns="a", m=spiffe, cl="east"`, `ns="a\"\\", m=token;x=1`,
		`ns=a, m=token`, `ns="a"`, `m=oath`, `ns="a", ns="b", m=ip`, `zz, m=ip`, `ns="", m=ip`, `ns="ü", m=ip`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, named, err := parseSubject(text)
		if err != nil {
			if !isKind(err, Malformed) {
				t.Fatalf("error = %v, want Malformed", err)
			}
			return
		}
		if s.Proof.rank() < 1 || named != (s.Cluster != "") {
			t.Fatalf("%+v, cluster named: %v", s, named)
		}
		again, namedAgain, err := parseSubject(s.field())
		if err != nil || again != s || named != namedAgain {
			t.Fatalf("%+v was written as %s and read as %+v, %v", s, s.field(), again, err)
		}
	})
}

func FuzzCDNLoop(f *testing.F) {
	for _, seed := range []string{
		"cloudflare; loops=1; subreqs=1", "Fastly, akamai;v=1.0;c=1", `a;b="c, d\"";;e=f`, "[2001:db8::1]:80", ",, ,", "", "a b",
		`a;b="`, "a;b", hub.Pseudonym, hub.Pseudonym + ";v=1;x=AAAA", outsideTag(hub, 2, 1, time.Unix(1_800_000_000, 0)),
	} {
		f.Add(seed)
	}
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, line string) {
		members, err := parseCDNLoop([]string{line})
		if err != nil {
			if !isKind(err, Malformed) {
				t.Fatalf("error = %v, want Malformed", err)
			}
			return
		}
		if len(members) > maxCDNLoop {
			t.Fatalf("%d members", len(members))
		}
		if len(members) == maxCDNLoop {
			return // full: the next is refused
		}
		// Whatever came, the own tag behind it is found, and the others read as before.
		h := map[string][]string{}
		Tags{RequestID: "01J", Budget: Budget{Hops: 3, Attempts: 2}, CDNLoop: []string{line}}.WriteOutside(h, hub, now)
		again, err := parseCDNLoop(h[headerCDNLoop])
		if err != nil || len(again) != len(members)+1 || !slices.Equal(again[:len(members)], members) {
			t.Fatalf("%v became %v, %v", members, again, err)
		}
		own := again[len(members)]
		if _, good := hub.Keys.verify(own, now); !good || own.id != hub.Pseudonym {
			t.Fatalf("own tag %v is not found good", own)
		}
		for _, m := range members {
			if m.id == "" || strings.ContainsAny(m.id, " \t,;") {
				t.Fatalf("id %q", m.id)
			}
		}
	})
}

// FuzzProxyStatus: what is left of an upstream's Proxy-Status reads as before, without our names.
func FuzzProxyStatus(f *testing.F) {
	for _, seed := range []string{
		"ExampleCDN; error=http_response_timeout", hub.Pseudonym + ";error=proxy_loop_detected, b", `"` + hub.Group + `", a;b=c`,
		"(a b);x, c", "a,", "?1", "*a;b;c=1.5", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		kept := foreignStatus(line, hub)
		members, err := parseList(kept)
		if err != nil {
			t.Fatalf("%q is left of %q: %v", kept, line, err)
		}
		for _, m := range members {
			if strings.EqualFold(m.value.text, hub.Pseudonym) || strings.EqualFold(m.value.text, hub.Group) {
				t.Fatalf("%q is left of %q", kept, line)
			}
		}
		if again := foreignStatus(kept, hub); again != kept {
			t.Fatalf("%q became %q", kept, again)
		}
	})
}
