package embedded

import (
	"testing"
	"time"
	"log/slog"
	"os"

	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/catalog/etcd"
)

func TestSmoke(t *testing.T) {
	t0 := time.Now()
	s, err := Start(t.Context(), Config{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("start", time.Since(t0))
	c := etcd.New(s.Client(), "", nil)
	rev, err := c.Commit(t.Context(), catalog.Op{Key: "a", Value: []byte("x"), If: catalog.Absent})
	t.Log(rev, err)
	_, err = c.Commit(t.Context(), catalog.Op{Key: "a", Value: []byte("x"), If: catalog.Absent})
	t.Log(err)
	t.Log(c.Get(t.Context(), "a"))
	n := 0
	for e := range c.Watch(t.Context(), "") {
		t.Log(time.Since(t0), e)
		if n++; n == 5 { break }
	}
	t.Log(s.Close())
	t.Log(c.Get(t.Context(), "a"))
}
