package embedded

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func TestLogTakesWarningsAndNoContents(t *testing.T) {
	var out bytes.Buffer
	log := zapLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), newFault())
	log.Debug("debugging")
	log.Info("informing")
	log.With(zap.String("member", "m1")).Warn("slow", zap.Duration("took", 5), zap.String("request", "canary"), zap.Int("count", 3),
		zap.String("request-content", "canary"), zap.String("key", "canary"), zap.ByteString("value", []byte("canary")))
	log.Error("broken", zap.Error(errors.New("disk")))
	got := out.String()
	for _, want := range []string{"level=WARN", `msg="etcd: slow"`, "member=m1", "count=3", "level=ERROR", "error=disk"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	for _, not := range []string{"debugging", "informing", "canary"} {
		if strings.Contains(got, not) {
			t.Errorf("%s in\n%s", not, got)
		}
	}
}

func TestAFaultEndsItsGoroutineOnly(t *testing.T) {
	for _, row := range []struct {
		name string
		fail func(*zap.Logger)
	}{
		{"fatal", func(l *zap.Logger) { l.Fatal("cannot write", zap.Error(errDisk)) }},
		{"panic", func(l *zap.Logger) { l.Panic("cannot write", zap.Error(errDisk)) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFault()
			log := zapLogger(slog.New(slog.DiscardHandler), f)
			if f.Err() != nil {
				t.Fatalf("Err before = %v", f.Err())
			}
			ended, wentOn := make(chan struct{}), false
			go func() {
				defer close(ended)
				row.fail(log)
				wentOn = true
			}()
			<-ended
			<-f.done
			if wentOn {
				t.Error("the goroutine went on")
			}
			if !errors.Is(f.Err(), errDisk) || !strings.Contains(f.Err().Error(), "cannot write") {
				t.Errorf("Err = %v", f.Err())
			}
		})
	}
}

var errDisk = errors.New("disk full")
