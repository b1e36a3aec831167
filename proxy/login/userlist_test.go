package login_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/login"
)

func TestUserlist(t *testing.T) {
	got, mistakes := login.ParseUserlist("\ufeff; a comment\n# another\n\n" +
		"\"alice\" \"secret\"\r\n" +
		"  \"bob\"\t\"md5" + strings.Repeat("0", 32) + "\" \"\" more\n" +
		"\"scram\" \"" + storedVerifier + "\"\n" +
		"\"a \"\"quoted\"\" name\" \"a \"\"quoted\"\" ; # secret\"\n" +
		"\"none\" \"\"\n" +
		"\"último\" \"ü\"")
	want := []login.Listed{
		{User: "alice", Secret: "secret", Line: 4},
		{User: "bob", Secret: "md5" + strings.Repeat("0", 32), Line: 5},
		{User: "scram", Secret: storedVerifier, Line: 6},
		{User: `a "quoted" name`, Secret: `a "quoted" ; # secret`, Line: 7},
		{User: "none", Line: 8},
		{User: "último", Secret: "ü", Line: 9},
	}
	if len(mistakes) > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, mistakes)
	}
	if text := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(text, "secret ") || strings.Contains(text, "SCRAM") {
		t.Errorf("secrets are printed: %s", text)
	}
}

func TestUserlistMistakes(t *testing.T) {
	for line, want := range map[string]string{
		`alice "secret"`:         `1:1: the user's name must be in double quotes`,
		`   "alice`:              `1:4: the user's name has no closing quote`,
		`"" "hush"`:              `1:1: the user's name is empty`,
		`"alice"`:                `1:8: needs the secret in double quotes after the user's name`,
		`"alice" `:               `1:9: needs the secret in double quotes after the user's name`,
		`"alice""hush"`:          `1:14: needs the secret in double quotes after the user's name`,
		`"alice" hush`:           `1:9: the secret must be in double quotes`,
		`"alice" "hush`:          `1:9: the secret has no closing quote`,
		`"alice" "hush""`:        `1:9: the secret has no closing quote`,
		"\"alice\" \"hu\x00sh\"": `1:12: the secret holds a NUL byte`,
		"\n\"alice\" \"hush\"\n\n \"alice\" \"hush\"":      `4:2: the user stands in line 2 already`,
		`"` + strings.Repeat("x", 200) + `" "hush"`:        `1:202: the user's name is longer than 63 bytes`,
		`"alice" "` + strings.Repeat("hush", 10000) + `"`:  `1:40010: the secret is longer than 10000 bytes`,
		"\"alice\" \"hush\n\" \"bob\"\n\"carol\" \"hush\"": `1:9: the secret has no closing quote`,
	} {
		_, mistakes := login.ParseUserlist(line)
		if len(mistakes) == 0 || mistakes[0].Error() != want || strings.Contains(mistakes[0].Error(), "hush") {
			t.Errorf("%.80q: %v", line, mistakes)
		}
	}
}

// FuzzUserlist: what was read can be written again and is read as the same.
func FuzzUserlist(f *testing.F) {
	f.Add("\"alice\" \"secret\"\n; x\n\"bob\" \"a\"\"b\" more")
	f.Add("\"\" \"\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		users, mistakes := login.ParseUserlist(text)
		lines := strings.Count(text, "\n") + 1
		for _, m := range mistakes {
			if m.Line < 1 || m.Line > lines || m.Column < 1 || m.Text == "" {
				t.Errorf("%q: %v", text, m)
			}
		}
		var b strings.Builder
		for _, u := range users {
			fmt.Fprintf(&b, "\"%s\" \"%s\"\n", strings.ReplaceAll(u.User, `"`, `""`), strings.ReplaceAll(u.Secret, `"`, `""`))
		}
		again, mistakes := login.ParseUserlist(b.String())
		for i := range again {
			if i >= len(users) || again[i].User != users[i].User || again[i].Secret != users[i].Secret {
				t.Fatalf("%q is read as %q", text, b.String())
			}
		}
		if len(mistakes) > 0 || len(again) != len(users) {
			t.Errorf("%q: %v", b.String(), mistakes)
		}
	})
}
