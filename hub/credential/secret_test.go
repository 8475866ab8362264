package credential_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"penstock.dev/penstock/hub/credential"
)

const canary = "sk-canary-5f3a9"

// panics tells this test's own program to panic in one of these ways.
const panics = "PENSTOCK_TEST_PANICS"

var waysToPanic = map[string]func(){
	"with a secret":             func() { panic(credential.NewSecret([]byte(canary))) },
	"with an error of a secret": func() { panic(fmt.Errorf("value %v", credential.NewSecret([]byte(canary)))) },
	"with a struct that has it": func() { panic(holder{hidden: credential.NewSecret([]byte(canary))}) },
	"with a vault on the stack": func() {
		v := credential.NewVault(nil, nil, nil)
		v.Changed(func(string, string) {})
		_ = credential.CheckValue(credential.Basic, credential.NewSecret([]byte(canary)))
		_ = v.Run(context.Background()) // a nil catalog
	},
}

func TestMain(m *testing.M) {
	if way := os.Getenv(panics); way != "" {
		waysToPanic[way]()
	}
	os.Exit(m.Run())
}

type holder struct {
	Shown  credential.Secret
	hidden credential.Secret
}

func TestASecretNeverPrints(t *testing.T) { // T-D5
	secret := credential.NewSecret([]byte(canary))
	values := map[string]any{
		"secret": secret, "pointer": &secret, "struct": holder{secret, secret}, "struct pointer": &holder{secret, secret},
		"slice": []credential.Secret{secret}, "map": map[string]credential.Secret{"k": secret}, "any": []any{secret, holder{hidden: secret}},
	}
	forms := spellings(canary)
	clean := func(how, out string) {
		t.Helper()
		for _, form := range forms {
			if strings.Contains(out, form) {
				t.Errorf("%s prints %s", how, out)
			}
		}
	}
	for name, v := range values {
		for _, verb := range strings.Split("v +v #v T s q x X d b o c U e g p t w 10s -10v .3s", " ") {
			clean(name+" by %"+verb, fmt.Sprintf("%"+verb, v))
		}
		clean(name+" by Sprint", fmt.Sprint(v, v))
		clean(name+" by an error", fmt.Errorf("failed with %v: %w", v, errors.New("x")).Error())
		text, err := json.Marshal(v)
		clean(name+" by JSON", fmt.Sprint(string(text), err))
		text, err = yaml.Marshal(v)
		clean(name+" by YAML", fmt.Sprint(string(text), err))
		text, err = xml.Marshal(v)
		clean(name+" by XML", fmt.Sprint(string(text), err))
		var out bytes.Buffer
		err = gob.NewEncoder(&out).Encode(v)
		clean(name+" by gob", fmt.Sprint(out.String(), err))
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).With("a", v).WithGroup("g").Info("m", "b", v, "c", slog.AnyValue(v))
		}
		clean(name+" by slog", out.String())
	}
	if got := fmt.Sprint(secret); got != "[redacted]" {
		t.Errorf("a secret prints as %q", got)
	}
	if string(secret.Reveal()) != canary || secret.Len() != len(canary) {
		t.Error("Reveal does not give the value")
	}
}

// spellings are forms in which a value could leak.
func spellings(s string) []string {
	return []string{s, fmt.Sprintf("%x", s), fmt.Sprintf("%X", s), fmt.Sprint([]byte(s)), strings.Trim(fmt.Sprint([]byte(s)), "[]"), strings.Trim(fmt.Sprintf("%#v", []byte(s)), "[]byte{}"), s[:8]}
}

func TestAPanicShowsNoSecret(t *testing.T) {
	for way := range waysToPanic {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), panics+"="+way, "GOTRACEBACK=system")
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("panic: ")) {
			t.Fatalf("%s: no panic: %v\n%s", way, err, out)
		}
		for _, form := range spellings(canary) {
			if bytes.Contains(out, []byte(form)) {
				t.Errorf("%s: the panic shows it:\n%s", way, out)
			}
		}
	}
}

func TestSecretIsACopyAndCanBeWiped(t *testing.T) {
	own := []byte(canary)
	s := credential.NewSecret(own)
	clear(own)
	if string(s.Reveal()) != canary {
		t.Error("the caller's bytes are the secret's")
	}
	other := s
	s.Wipe()
	if string(other.Reveal()) == canary || other.Len() != len(canary) {
		t.Errorf("after Wipe a copy reveals %q", other.Reveal())
	}
	var zero credential.Secret
	zero.Wipe()
	if zero.Len() != 0 || zero.String() != "[redacted]" {
		t.Errorf("the zero Secret has %d bytes and prints %s", zero.Len(), zero)
	}
}

// Reveal is the only way out, and nobody outside of this package takes it.
func TestNobodyElseReveals(t *testing.T) {
	root := filepath.Join("..", "..")
	own, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	files, uses := 0, 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && d.Name() != "..") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil //nolint:nilerr // the compiler says it better
		}
		abs, err := filepath.Abs(path)
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Reveal" {
				uses++
				if filepath.Dir(abs) != own {
					t.Errorf("%s calls Reveal", path)
				}
			}
			return true
		})
		return err
	})
	if err != nil || files < 20 || uses == 0 {
		t.Errorf("looked at %d files with %d uses: %v", files, uses, err)
	}
}
