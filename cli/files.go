package cli

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/apis/admin"
)

// stdinName names standard input, on the command line and in findings.
const stdinName = "-"

// fileFlag is -f.
func fileFlag(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVarP(files, "filename", "f", nil, "file or folder with manifests; - is standard input; may be repeated")
}

// readManifests reads files, folders (all *.yaml, *.yml and *.json below them) and standard input.
func readManifests(cmd *cobra.Command, paths []string) (admin.Manifests, error) {
	var (
		m     admin.Manifests
		total int
	)
	add := func(source string, r io.Reader) error {
		data, err := io.ReadAll(io.LimitReader(r, int64(admin.MaxManifestBytes-total+1)))
		if err != nil {
			return fmt.Errorf("read manifests: %s: %w", source, err)
		}
		if total += len(data); total > admin.MaxManifestBytes {
			return fmt.Errorf("read manifests: %s: more than %d MiB in all; apply them in parts", source, admin.MaxManifestBytes>>20)
		}
		m.Items = append(m.Items, admin.Manifest{Source: source, Data: string(data)})
		return nil
	}
	for _, path := range paths {
		if path == stdinName {
			if err := add(stdinName, cmd.InOrStdin()); err != nil {
				return m, err
			}
			continue
		}
		files, err := manifestFiles(path)
		if err != nil {
			return m, err
		}
		for _, name := range files {
			if err := addFile(name, add); err != nil {
				return m, err
			}
		}
	}
	return m, nil
}

func addFile(name string, add func(string, io.Reader) error) error {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("read manifests: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	return add(name, file)
}

// manifestFiles lists the manifests of a folder as the hub's folder watcher does, sorted; a file is itself, whatever it is
// called.
func manifestFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	// WalkDir follows a link (a mounted volume) only with a separator at the end.
	root := filepath.Clean(path) + string(filepath.Separator)
	err = filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(e.Name(), ".") && name != root
		switch file := e.Type().IsRegular() || e.Type()&fs.ModeSymlink != 0; {
		case e.IsDir() && hidden:
			return fs.SkipDir
		case file && !hidden && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)):
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("read manifests: folder %s holds no *.yaml, *.yml or *.json", path)
	}
	return files, nil
}
