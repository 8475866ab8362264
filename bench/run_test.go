package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestProfilesAreOfTheHopsThatOfferThem(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.URL.RequestURI())
	}))
	t.Cleanup(s.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	address := s.Listener.Addr().String()
	for _, tt := range []struct {
		name       string
		spoke, hub hop
		want       []string
	}{
		{"no hop, no profile", hop{}, hop{}, nil},
		{"plain hops offer none", hop{pid: 1}, hop{pid: 2}, nil},
		{"one of each hop that does", hop{pid: 1, pprof: address}, hop{pid: 2, pprof: address}, []string{"hub.pprof", "spoke.pprof"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "profiles")
			tg := &target{spoke: tt.spoke, hub: tt.hub}
			if err := tg.profile(t.Context(), dir, 10*time.Second); err != nil {
				t.Fatal(err)
			}
			var got []string
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				got = append(got, e.Name())
				text, err := os.ReadFile(filepath.Join(dir, e.Name()))
				if want := "/debug/pprof/profile?seconds=9"; err != nil || string(text) != want {
					t.Errorf("%s holds %q, %v; want the answer to %s", e.Name(), text, err, want)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("profiles = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAProfileThatIsRefusedFailsTheRun(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	dir := t.TempDir()
	tg := &target{hub: hop{pid: 1, pprof: s.Listener.Addr().String()}}
	if err := tg.profile(t.Context(), dir, time.Second); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("profile error = %v, want 404", err)
	}
	if err := tg.profile(t.Context(), "", time.Second); err != nil {
		t.Errorf("no folder asks for no profile, got %v", err)
	}
}

func TestTheFolderOfARunGoesUnlessItIsKept(t *testing.T) {
	for _, keep := range []bool{false, true} {
		s := &site{dir: filepath.Join(t.TempDir(), "run"), keep: keep, procs: &processes{}}
		if err := os.Mkdir(s.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		s.close()
		if _, err := os.Stat(s.dir); keep != (err == nil) {
			t.Errorf("keep %t: stat after close = %v", keep, err)
		}
	}
}
