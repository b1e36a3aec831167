package hba

import (
	"errors"
	"net/netip"
	"testing"
)

// memory is a folder of files.
type memory map[string]string

func (m memory) files() Files {
	return Files{
		Read: func(path string) (string, error) {
			text, ok := m[path]
			if !ok {
				return "", errNotThere
			}
			return text, nil
		},
		List: func(folder string) (names []string, err error) {
			for path := range m {
				if rest, ok := cutFolder(path, folder); ok {
					names = append(names, rest)
				}
			}
			if names == nil {
				return nil, errNotThere
			}
			return names, nil
		},
	}
}

func rulesOf(t testing.TB, text string) []Rule {
	t.Helper()
	rules, mistakes, err := ReadRules("/etc/pg_hba.conf", memory{"/etc/pg_hba.conf": text}.files())
	if err != nil || len(mistakes) > 0 {
		t.Fatalf("%v %v", mistakes, err)
	}
	return rules
}

var errAsked = errors.New("asked")

func TestMatch(t *testing.T) {
	rules := rulesOf(t, `
# 2
local     all            all                            trust
hostssl   all            cert                10.0.0.0/8 cert
hostnossl secure         all                 all        reject
host      "all"          quoted              all        md5
host      sameuser       all                 10.1.0.0 255.255.0.0 password
host      a,b, c         x,"y z",/^re_\d+$   all        trust
host      /^db            +staff             all        scram-sha-256
host      samerole       all                 ::1/128    md5
host      replication    all                 all        trust
host      every          all                 samehost   md5
host      every          all                 127.0.0.0/8  reject
`)
	member := func(user string) Member {
		return func(role string) (bool, error) {
			if user == "fails" {
				return false, errAsked
			}
			return user == "bob" && role == "staff", nil
		}
	}
	for _, c := range []struct {
		user, database, address string
		tls, replication        bool
		line                    string // "" is none
	}{
		{"any", "any", "", false, false, "3"},
		{"cert", "any", "10.9.9.9", true, false, "4"},
		{"cert", "cert", "10.1.9.9", false, false, "7"},
		{"cert", "any", "11.9.9.9", true, false, ""},
		{"any", "secure", "192.0.2.1", false, false, "5"},
		{"any", "secure", "192.0.2.1", true, false, ""},
		{"quoted", "all", "192.0.2.1", true, false, "6"},
		{"quoted", "other", "192.0.2.1", true, false, ""},
		{"x", "x", "10.1.2.3", true, false, "7"},
		{"x", "x", "::ffff:10.1.2.3", true, false, "7"},
		{"x", "x", "10.2.2.3", true, false, ""},
		{"x", "c", "192.0.2.1", true, false, "8"},
		{"y z", "b", "fe80::1%eth0", true, false, "8"},
		{"re_12", "a", "192.0.2.1", true, false, "8"},
		{"re_12x", "a", "192.0.2.1", true, false, ""},
		{"bob", "db1", "192.0.2.1", false, false, "9"},
		{"alice", "db1", "192.0.2.1", false, false, ""},
		{"bob", "staff", "::1", false, false, "10"},
		{"bob", "staff", "::2", false, false, ""},
		{"any", "any", "192.0.2.1", false, true, "11"},
		{"any", "every", "127.0.0.1", false, false, "12"},
		{"any", "every", "127.0.0.77", false, false, "13"},
	} {
		client := Client{User: c.user, Database: c.database, TLS: c.tls, Replication: c.replication, Local: c.address == ""}
		if !client.Local {
			client.Addr = netip.MustParseAddr(c.address)
		}
		rule, err := Match(rules, client, member(c.user))
		got := ""
		if rule != nil {
			got = rule.Place[len("/etc/pg_hba.conf:"):]
		}
		if got != c.line || err != nil {
			t.Errorf("%+v: line %q, %v", c, got, err)
		}
	}
	client := Client{User: "fails", Database: "db1", Addr: netip.MustParseAddr("192.0.2.1")}
	if rule, err := Match(rules, client, member("fails")); rule != nil || !errors.Is(err, errAsked) {
		t.Errorf("%v, %v", rule, err)
	}
	if rule, err := Match(rules, client, nil); rule != nil || err == nil {
		t.Errorf("membership that nobody knows: %v, %v", rule, err)
	}
	if !rules[6].AsksMembers() || !rules[7].AsksMembers() || rules[0].AsksMembers() {
		t.Error("AsksMembers")
	}
}

func TestMaps(t *testing.T) {
	maps, mistakes, err := ReadMaps("/pg_ident.conf", memory{"/pg_ident.conf": `
one   outside          inside
one   "Out Side"       "all"
one   admin            all
one   dba              +staff
mail  /^(.*)@db\.org$  \1
mail  /^ops            /^op_
mail  /^(.*)@x$        "\1_x"
`}.files())
	if err != nil || len(mistakes) > 0 {
		t.Fatal(mistakes, err)
	}
	member := func(role string) (bool, error) { return role == "staff", nil }
	for _, c := range []struct {
		name, system, user string
		want               bool
	}{
		{"", "same", "same", true},
		{"", "same", "other", false},
		{"one", "same", "same", false},
		{"one", "outside", "inside", true},
		{"one", "outside", "outside", false},
		{"one", "Out Side", "all", true},
		{"one", "Out Side", "any", false},
		{"one", "admin", "any", true},
		{"one", "dba", "any", true},
		{"mail", "bob@db.org", "bob", true},
		{"mail", "bob@db.org", "alice", false},
		{"mail", "bob@db.org.evil", "bob", false},
		{"mail", "all@db.org", "any", false}, // what is borrowed is a name
		{"mail", "+staff@db.org", "any", false},
		{"mail", "/.*@db.org", "any", false},
		{"mail", "ops1", "op_x", true},
		{"mail", "ops1", "x", false},
		{"mail", "a@x", "a_x", true},
		{"mail", "inside", "inside", false},
		{"none", "a", "a", false},
	} {
		if got, err := maps.Allows(c.name, c.system, c.user, member); got != c.want || err != nil {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]string{
		"all": "1.2.3.4", "0.0.0.0/0": "1.2.3.4", "::0/0": "2001:db8::1", "1.2.3.4": "1.2.3.4", "1.2.3.99/24": "1.2.3.4",
		"::ffff:1.2.3.0/120": "1.2.3.4", "2001:db8::/32": "2001:db8::1",
	} {
		a, err := ParseAddress(text)
		if err != nil || !a.contains(netip.MustParseAddr(want)) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"", "1.2.3", "1.2.3.4/33", "fe80::1%eth0", "host.example", ".example", "1.2.3.4/", "10/8"} {
		if a, err := ParseAddress(text); err == nil {
			t.Errorf("%q is %v", text, a)
		}
	}
	if a, _ := ParseAddress("samenet"); !a.contains(netip.MustParseAddr("127.9.9.9")) || a.contains(netip.MustParseAddr("203.0.113.77")) {
		t.Error("samenet")
	}
	if a, _ := ParseAddress("0.0.0.0/0"); a.contains(netip.MustParseAddr("::1")) {
		t.Error("an IPv6 address lies in an IPv4 network")
	}
}
