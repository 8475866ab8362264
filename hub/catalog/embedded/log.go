package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapLogger takes etcd's warnings and errors to log, and its fatal ones also to f.
func zapLogger(log *slog.Logger, f *fault) *zap.Logger {
	return zap.New(&core{log: log}, zap.WithFatalHook(f), zap.WithPanicHook(f))
}

// core is a zapcore.Core that writes to slog.
type core struct {
	log    *slog.Logger
	fields []zapcore.Field
}

func (c *core) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{log: c.log, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c *core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelWarn
	if e.Level > zapcore.WarnLevel {
		level = slog.LevelError
	}
	c.log.LogAttrs(context.Background(), level, "etcd: "+e.Message, attrs(append(c.fields[:len(c.fields):len(c.fields)], fields...))...)
	return nil
}

func (c *core) Sync() error { return nil }

func attrs(fields []zapcore.Field) []slog.Attr {
	enc := zapcore.NewMapObjectEncoder()
	var out []slog.Attr
	for _, f := range fields {
		if revealing(f.Key) {
			continue
		}
		f.AddTo(enc)
		if v, ok := enc.Fields[f.Key]; ok {
			out = append(out, slog.Any(f.Key, v))
		}
	}
	return out
}

// revealing fields may show what was stored; etcd logs them with slow requests.
func revealing(name string) bool {
	for _, part := range []string{"request", "response", "content", "value", "key", "prefix"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// fault is etcd's first fatal error. As a hook of its logger it ends the goroutine rather than the process: the broken
// part of etcd stops where it stands and writes nothing more, the hub goes on.
type fault struct {
	done chan struct{}
	once sync.Once
	err  error
}

func newFault() *fault { return &fault{done: make(chan struct{})} }

// OnWrite implements zapcore.CheckWriteHook for what etcd means to be the end of the process.
func (f *fault) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	f.once.Do(func() {
		f.err = errors.New(e.Message)
		for _, field := range fields {
			if err, ok := field.Interface.(error); ok && field.Type == zapcore.ErrorType {
				f.err = fmt.Errorf("%s: %w", e.Message, err)
			}
		}
		close(f.done)
	})
	runtime.Goexit()
}

// Err is nil as long as done is open.
func (f *fault) Err() error {
	select {
	case <-f.done:
		return fmt.Errorf("etcd failed: %w; look after the disk and the folder, then restart", f.err)
	default:
		return nil
	}
}
