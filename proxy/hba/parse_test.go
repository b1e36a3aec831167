package hba

import (
	"io/fs"
	"strings"
	"testing"
)

var errNotThere = fs.ErrNotExist

func cutFolder(path, folder string) (string, bool) {
	rest, ok := strings.CutPrefix(path, folder+"/")
	return rest, ok && !strings.Contains(rest, "/")
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"hosts all all all trust":                          `:1:1: unknown type "hosts": must be local, host, hostssl or hostnossl`,
		"hostgssenc all all all trust":                     `:1:1: GSSAPI encryption is not supported`,
		"local,host all all all trust":                     `:1:1: more than one value for the type`,
		"local":                                            `:1:1: the line ends before the database`,
		"local all":                                        `:1:7: the line ends before the user`,
		"local all all":                                    `:1:11: the line ends before the method`,
		"host all all":                                     `:1:10: the line ends before the address`,
		"host all all trust":                               `:1:14: host names such as "trust" are not supported: give addresses`,
		"host all all all":                                 `:1:14: the line ends before the method`,
		"host all all 10.0.0.0/99 trust":                   `:1:14: invalid network "10.0.0.0/99"`,
		"host all all 10.0.0.0 255.0.255.0 trust":          `:1:23: a mask must be ones followed by zeros`,
		"host all all 10.0.0.0 ::1 trust":                  `:1:23: invalid mask "::1"`,
		"host all all 10.0.0.0/8 255.0.0.0 trust":          `:1:25: unknown method "255.0.0.0": must be trust, reject, password, md5, scram-sha-256 or cert`,
		"host all all \"all\" trust":                       `:1:14: host names such as "all" are not supported: give addresses`,
		"local all all peer":                               `:1:15: method peer is not supported`,
		"local all all hush":                               `:1:15: unknown method "hush": must be trust, reject, password, md5, scram-sha-256 or cert`,
		"local all all md5,trust":                          `:1:15: more than one value for the method`,
		"local all all md5 x":                              `:1:19: option "x" is not name=value`,
		"local all all md5 x=y":                            `:1:19: option "x" is not supported`,
		"host all all all cert":                            `:1:18: certificates are shown over TLS only: the type must be hostssl`,
		"local all all md5 clientcert=verify-full":         `:1:19: certificates are shown over TLS only: the type must be hostssl`,
		"hostssl all all all md5 clientcert=1":             `:1:25: clientcert must be verify-ca or verify-full, got "1"`,
		"hostssl all all all cert clientcert=verify-ca":    `:1:26: method cert means clientcert=verify-full`,
		"hostssl all all all cert clientname=X":            `:1:26: clientname must be CN, DN or SAN, got "X"`,
		"hostssl all all all md5 map=x":                    `:1:25: map and clientname need method cert or clientcert=verify-full`,
		"local all \"x trust\nlocal all all trust":         `:1:11: a double quote is not closed`,
		"local all /( trust":                               `:1:11: invalid regular expression "(": error parsing regexp: missing closing ): ` + "`(`",
		"local all + trust":                                `:1:11: a name is empty`,
		"# fine\n\nlocal all \\\n  all hush":               `:4:7: unknown method "hush": must be trust, reject, password, md5, scram-sha-256 or cert`,
		"include":                                          `:1:1: include needs one path`,
		"include a b":                                      `:1:1: include needs one path`,
		"include gone":                                     `:1:9: cannot be included: file does not exist`,
		"include_dir gone":                                 `:1:13: cannot be included: file does not exist`,
		"local @gone all trust":                            `:1:7: cannot be included: file does not exist`,
		"include pg_hba.conf":                              `/etc/pg_hba.conf:1:9: cannot be included: files include each other more than 10 deep`,
		"local @pg_hba.conf all trust":                     `:1:7: cannot be included: files include each other more than 10 deep`,
		"local a\x00b all trust":                           `:1:8: a NUL byte`,
		"local all /" + strings.Repeat("x", 2000) + " md5": `:1:11: a regular expression is longer than 1000 bytes`,
	} {
		_, mistakes, err := ReadRules("/etc/pg_hba.conf", memory{"/etc/pg_hba.conf": text}.files())
		if err != nil || len(mistakes) == 0 || !strings.HasSuffix(mistakes[0].Error(), want) {
			t.Errorf("%.60q: %v %v", text, mistakes, err)
		}
	}
	for text, want := range map[string]string{
		"map outside": ":1:1: a line of a map has its name, a name outside and a user",
		"map a b c":   ":1:1: a line of a map has its name, a name outside and a user",
		"map a,b c":   ":1:1: a line of a map has its name, a name outside and a user",
		"map /( c":    ":1:5: invalid regular expression",
		`map /x \1`:   `:1:5: the regular expression "x" has no parentheses for the \1 in "\\1"`,
		"map a +":     ":1:5: a name is empty",
	} {
		_, mistakes, err := ReadMaps("m", memory{"m": text}.files())
		if err != nil || len(mistakes) == 0 || !strings.Contains(mistakes[0].Error(), want) {
			t.Errorf("%q: %v %v", text, mistakes, err)
		}
	}
	if _, _, err := ReadRules("gone", memory{}.files()); err == nil {
		t.Error("a file that is not there is read")
	}
}

func TestIncludes(t *testing.T) {
	rules, mistakes, err := ReadRules("/etc/pg_hba.conf", memory{
		"/etc/pg_hba.conf": "include sub/a.conf\ninclude_if_exists gone.conf\ninclude_dir d\nlocal @names,own @/abs/users trust\n" +
			"local \"@names\" @empty md5",
		"/etc/sub/a.conf": "local a all md5\ninclude b.conf",
		"/etc/sub/b.conf": "local b all reject",
		"/etc/d/2.conf":   "local d2 all trust",
		"/etc/d/1.conf":   "local d1 all trust",
		"/etc/d/.x.conf":  "broken",
		"/etc/d/1.bak":    "broken",
		"/etc/names":      "n1, n2 # comment\nn3\n@more",
		"/etc/more":       "n4",
		"/etc/empty":      "# nothing",
		"/abs/users":      "u1 \"+u2\"",
	}.files())
	if err != nil || len(mistakes) > 0 {
		t.Fatal(mistakes, err)
	}
	var got []string
	for _, r := range rules {
		text := r.Place + " "
		for _, n := range r.Databases {
			text += n.text + " "
		}
		for _, n := range r.Users {
			text += n.text + " "
		}
		got = append(got, text+string(r.Method))
	}
	want := `/etc/sub/a.conf:1 a  md5
/etc/sub/b.conf:1 b  reject
/etc/d/1.conf:1 d1  trust
/etc/d/2.conf:1 d2  trust
/etc/pg_hba.conf:4 n1 n2 n3 n4 own u1 +u2 trust
/etc/pg_hba.conf:5 @names  md5`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// FuzzReadRules: mistakes have a place within the file, and a rule that was read can be asked.
func FuzzReadRules(f *testing.F) {
	f.Add("local all all trust\nhost a,\"b c\" /x 10.0.0.0/8 md5 map=x # comment\n")
	f.Add("hostssl all +x 1.2.3.4 255.0.0.0 cert clientname=DN\\\n map=\"a\"\"b\"")
	f.Add("include a\n@b\nlocal @c d e")
	f.Fuzz(func(t *testing.T, text string) {
		rules, mistakes, err := ReadRules("f", memory{"f": text, "c": "x"}.files())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mistakes {
			if m.Line < 1 || m.Line > strings.Count(text, "\n")+1 || m.Column < 1 || m.Text == "" {
				t.Errorf("%q: %v", text, m)
			}
		}
		for _, c := range []Client{{User: "a", Database: "b", Local: true}, {User: "a", Database: "b", TLS: true}} {
			if _, err := Match(rules, c, func(string) (bool, error) { return false, nil }); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzReadMaps(f *testing.F) {
	f.Add("one outside inside\n\"two\" /^(.*)@x$ \\1 # x")
	f.Fuzz(func(t *testing.T, text string) {
		maps, _, err := ReadMaps("f", memory{"f": text}.files())
		if err != nil {
			t.Fatal(err)
		}
		for name := range maps {
			if _, err := maps.Allows(name, "a@x", "a", func(string) (bool, error) { return false, nil }); err != nil {
				t.Error(err)
			}
		}
	})
}
