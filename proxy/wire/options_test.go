package wire_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Each case was put to PostgreSQL 15 in a startup packet: it set these values, or named the same setting as unknown.
func TestOptions(t *testing.T) {
	for in, want := range map[string][]wire.Param{
		"":                                nil,
		" \t\n":                           nil,
		"-c work_mem=5MB":                 {{"work_mem", "5MB"}},
		"-cwork_mem=5MB":                  {{"work_mem", "5MB"}},
		"--work_mem=5MB":                  {{"work_mem", "5MB"}},
		"--work-mem=5MB":                  {{"work_mem", "5MB"}},
		"-c work-mem=5MB":                 {{"work_mem", "5MB"}},
		"-c Work_Mem=5MB":                 {{"Work_Mem", "5MB"}}, // the server compares names without regard to case
		"-c a.b-c=1":                      {{"a.b_c", "1"}},
		"-c geqo=off --":                  {{"geqo", "off"}},
		"--":                              nil,
		"-c geqo=off\f":                   {{"geqo", "off"}},
		"-c\vgeqo=off":                    {{"geqo", "off"}},
		"-c  work_mem=5MB   --geqo=off ":  {{"work_mem", "5MB"}, {"geqo", "off"}},
		"-c work_mem=5MB -c work_mem=6MB": {{"work_mem", "5MB"}, {"work_mem", "6MB"}},

		"-c application_name=":     {{"application_name", ""}},
		"-c application_name=a=b":  {{"application_name", "a=b"}},
		"-c application_name=a-b":  {{"application_name", "a-b"}},
		`-c application_name=a\ b`: {{"application_name", "a b"}},
		`-c application_name=a\\b`: {{"application_name", `a\b`}},
		`-c application_name=a\b`:  {{"application_name", "ab"}},
		`-c application_name=a\`:   {{"application_name", "a"}},
		`-c a.b=é\é`:               {{"a.b", "éé"}},
		`-\c application_name=a`:   {{"application_name", "a"}},
		`\-c application_name=a`:   {{"application_name", "a"}},

		"-c --work_mem=5MB": {{"__work_mem", "5MB"}}, // no such setting, as the server will say
		`-c\ work_mem=5MB`:  {{" work_mem", "5MB"}},
	} {
		got, err := wire.DecodeOptions(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %v, %v; want %v", in, got, err, want)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	for in, code := range map[string]string{
		"-c":                wire.CodeSyntaxError,
		"-c work_mem":       wire.CodeSyntaxError,
		"-cwork_mem":        wire.CodeSyntaxError,
		"--work-mem":        wire.CodeSyntaxError,
		"-c --":             wire.CodeSyntaxError,
		"-c a=1 -c":         wire.CodeSyntaxError,
		"-c=":               wire.CodeSyntaxError, // an empty name made a pooler spin (CVE-2026-107349)
		"-c=x":              wire.CodeSyntaxError,
		"-c =x":             wire.CodeSyntaxError,
		"--=x":              wire.CodeSyntaxError,
		"--=":               wire.CodeSyntaxError,
		"foo":               wire.CodeSyntaxError,
		"work_mem=5MB":      wire.CodeSyntaxError,
		"-":                 wire.CodeSyntaxError,
		`\`:                 wire.CodeSyntaxError,
		`-c a="b c"`:        wire.CodeSyntaxError, // quotes mean nothing here
		"-- -c a=1":         wire.CodeSyntaxError,
		"-- --":             wire.CodeSyntaxError,
		"-S 4MB":            wire.CodeSyntaxError,
		"-Fc a=1":           wire.CodeSyntaxError,
		"-c a=1 -d 5 -cb=2": wire.CodeSyntaxError,
	} {
		got, err := wire.DecodeOptions(in)
		e, ok := errors.AsType[*wire.Error](err)
		if !ok || e.Code != code || e.Severity != "FATAL" || got != nil {
			t.Errorf("%q: got %v, %v; want %s", in, got, err, code)
		}
	}
}

func TestOptionsOfManyWords(t *testing.T) {
	for _, in := range []string{strings.Repeat("-c a=b ", 1400), "-c a=b" + strings.Repeat(`\x`, 5000), strings.Repeat(" ", wire.MaxStartup)} {
		got, err := wire.DecodeOptions(in)
		if err != nil || len(got) != strings.Count(in, "a=") {
			t.Errorf("%.20q…: %d settings, %v", in, len(got), err)
		}
	}
	if _, err := wire.DecodeOptions(strings.Repeat(`\`, wire.MaxStartup)); err == nil {
		t.Error("backslashes alone are no setting")
	}
}
