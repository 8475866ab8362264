package filter

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"penstock.dev/penstock/gateway/route"
)

// rewrite changes host and path. The query stays. Everything is checked before anything is changed.
func rewrite(r *http.Request, w *route.URLRewrite, m *route.Match) error {
	if w.Hostname != "" && !httpguts.ValidHostHeader(w.Hostname) {
		return fmt.Errorf("%q is not a host name", w.Hostname)
	}
	path := ""
	switch {
	case w.FullPath != nil:
		path = *w.FullPath
	case w.PrefixPath != nil:
		var err error
		if path, err = replacePrefix(r.URL, m, *w.PrefixPath); err != nil {
			return err
		}
	}
	if path != "" {
		if err := setPath(r.URL, path); err != nil {
			return err
		}
	}
	if w.Hostname != "" {
		r.Host = w.Hostname
	}
	return nil
}

// replacePrefix puts with in place of the matched prefix, with exactly one slash between it and the rest (the table of
// HTTPPathModifier in Gateway API).
func replacePrefix(u *url.URL, m *route.Match, with string) (string, error) {
	prefix := "/"
	if m != nil && m.Path != "" {
		if m.PathType != route.PathPrefix && m.PathType != "" {
			return "", fmt.Errorf("the rule matched by %s, and only a matched prefix can be replaced; match by %s", m.PathType, route.PathPrefix)
		}
		prefix = m.Path
	}
	was, err := route.CleanPath(u.EscapedPath())
	if err != nil {
		return "", err
	}
	clean, err := route.CleanPath(prefix)
	if err != nil {
		return "", err
	}
	rest, ok := strings.CutPrefix(was.String(), strings.TrimSuffix(clean.String(), "/"))
	if !ok || rest != "" && rest[0] != '/' {
		return "", fmt.Errorf("the path is no longer below %s; run this rewrite before the one that changed it", prefix)
	}
	if path := strings.TrimSuffix(with, "/") + rest; path != "" {
		return path, nil
	}
	return "/", nil
}

// setPath takes an escaped path; what is not escaped but should be is.
func setPath(u *url.URL, escaped string) error {
	if _, err := route.CleanPath(escaped); err != nil {
		return fmt.Errorf("path %q: %w", escaped, err)
	}
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return fmt.Errorf("path %q: %w", escaped, err)
	}
	u.Path, u.RawPath = path, escaped
	return nil
}
