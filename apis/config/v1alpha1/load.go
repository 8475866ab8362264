package v1alpha1

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxFileBytes bounds a configuration file.
const maxFileBytes = 1 << 20

// LoadHub reads the file of a hub. Paths in it come back absolute. The error is an *Error when the file was read but
// cannot be used.
func LoadHub(path string) (*HubConfig, error) { return load(path, parseHub) }

// LoadSpoke reads the file of a spoke. Paths in it come back absolute. The error is an *Error when the file was read but
// cannot be used.
func LoadSpoke(path string) (*SpokeConfig, error) { return load(path, parseSpoke) }

// ParseHub reads the configuration of a hub. source names it in problems, and its folder is what relative paths start
// from. The error is an *Error.
func ParseHub(source string, data []byte) (*HubConfig, error) {
	return parseHub(source, filepath.Dir(source), data)
}

// ParseSpoke reads the configuration of a spoke. source names it in problems, and its folder is what relative paths
// start from. The error is an *Error.
func ParseSpoke(source string, data []byte) (*SpokeConfig, error) {
	return parseSpoke(source, filepath.Dir(source), data)
}

func load[T any](path string, parse func(source, folder string, data []byte) (*T, error)) (*T, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w; say with --config where the file is", err)
	}
	defer func() { _ = file.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("configuration: %s is larger than 1 MiB; is it the right file?", path)
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("configuration: folder of %s: %w", path, err)
	}
	return parse(path, folder, data)
}

func parseHub(source, folder string, data []byte) (*HubConfig, error) {
	var cfg HubConfig
	f := &findings{file: source, lines: map[string]int{}}
	f.decode(data, KindHub, &cfg)
	// A field that could not be read is zero now; checks on it would only repeat what was said.
	if err := f.err(); err != nil {
		return nil, err
	}
	cfg.setDefaults(folder)
	f.hub(&cfg)
	if err := f.err(); err != nil {
		return nil, err
	}
	return &cfg, nil
}

func parseSpoke(source, folder string, data []byte) (*SpokeConfig, error) {
	var cfg SpokeConfig
	f := &findings{file: source, lines: map[string]int{}}
	f.decode(data, KindSpoke, &cfg)
	if err := f.err(); err != nil {
		return nil, err
	}
	cfg.setDefaults(folder)
	f.spoke(&cfg)
	if err := f.err(); err != nil {
		return nil, err
	}
	return &cfg, nil
}
