package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sarnicdb/sarnic/config"
	"github.com/sarnicdb/sarnic/proxy/hba"
)

// rule is one of auth.rules. What it does not say is for all.
type rule struct {
	Type       string
	Database   []string
	User       []string
	Address    string
	Method     string
	Map        string
	ClientCert string `key:"clientcert"`
	ClientName string `key:"clientname"`
}

// mapping is one line of a map in auth.maps.
type mapping struct {
	Certificate string
	User        string
}

// maxRules bounds files of rules and maps.
const maxRules = 1 << 20

// access are the rules and maps of the file, or of the files it names.
func (c composer) access() (rules []hba.Rule, maps hba.Maps) {
	rules, maps = c.rules(), c.maps()
	if c.Auth.HbaFile != "" {
		if len(rules) > 0 {
			c.bad("auth.hba_file", "excludes auth.rules: the rules are in one of the two")
		}
		path := within(c.folder, c.Auth.HbaFile)
		found, mistakes, err := hba.ReadRules(path, c.files())
		c.judgeFile("auth.hba_file", mistakes, err)
		if rules = found; len(rules) == 0 && len(mistakes) == 0 && err == nil {
			c.bad("auth.hba_file", "has no rule: nobody could log in")
		}
	}
	if c.Auth.IdentFile != "" {
		if len(maps) > 0 {
			c.bad("auth.ident_file", "excludes auth.maps: the maps are in one of the two")
		}
		path := within(c.folder, c.Auth.IdentFile)
		found, mistakes, err := hba.ReadMaps(path, c.files())
		c.judgeFile("auth.ident_file", mistakes, err)
		maps = found
	}
	for i := range rules {
		c.judgeRule(&rules[i], maps)
	}
	return rules, maps
}

// judgeRule looks at what a rule needs besides itself.
func (c composer) judgeRule(r *hba.Rule, maps hba.Maps) {
	key, where := r.Place, ""
	if c.Auth.HbaFile != "" {
		key, where = "auth.hba_file", "the rule at "+r.Place+" "
	}
	if r.NeedsCertificate() && c.TLS.ClientCA == "" {
		c.bad(key, where+"needs tls.client_ca")
	}
	if _, ok := maps[r.Map]; r.Map != "" && !ok {
		c.bad(key, fmt.Sprintf("%sneeds a map %q", where, r.Map))
	}
}

func (c composer) judgeFile(key string, mistakes []hba.Mistake, err error) {
	if err != nil {
		c.bad(key, "cannot be read: "+err.Error())
	}
	for _, m := range mistakes {
		c.mistake(m.File, m.Line, m.Column, m.Text)
	}
}

// files is how rules and maps are read, and remembered for whoever watches them.
func (c composer) files() hba.Files {
	return hba.Files{
		Read: func(path string) (string, error) {
			*c.read = append(*c.read, path)
			text, err := readText(path, maxRules)
			return text, plainError(err)
		},
		List: func(folder string) ([]string, error) {
			*c.read = append(*c.read, folder)
			entries, err := os.ReadDir(folder)
			names := make([]string, len(entries))
			for i, entry := range entries {
				names[i] = entry.Name()
			}
			return names, plainError(err)
		},
	}
}

// plainError is err as an operator reads it, which is still known for a file that is not there.
func plainError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fs.ErrNotExist
	}
	return err
}

func (c composer) rules() []hba.Rule {
	var all []hba.Rule
	for i, r := range c.Auth.Rules {
		key := config.Index("auth.rules", i)
		all = append(all, c.rule(key, r))
	}
	return all
}

// rule judges one rule.
func (c composer) rule(key string, r rule) hba.Rule {
	made := hba.Rule{Map: r.Map, ClientCert: hba.ClientCert(r.ClientCert), ClientName: hba.CertName(r.ClientName), Place: key}
	judged := func(name string, err error) {
		if err != nil {
			c.bad(key+"."+name, err.Error())
		}
	}
	var err error
	made.Type, err = hba.ParseType(cmp.Or(r.Type, string(hba.Host)))
	judged("type", err)
	if r.Type == string(hba.Local) && r.Address != "" {
		c.bad(key+".address", "is not for the type local")
	}
	made.Address, err = hba.ParseAddress(cmp.Or(r.Address, "all"))
	judged("address", err)
	made.Databases = c.names(key+".database", r.Database, hba.ParseDatabase)
	made.Users = c.names(key+".user", r.User, hba.ParseUser)
	if made.Method, err = hba.ParseMethod(r.Method); r.Method == "" {
		err = errors.New("is required: trust, reject, password, md5, scram-sha-256 or cert")
	}
	judged("method", err)
	if err = made.Validate(); err != nil {
		c.bad(key, err.Error())
	}
	return made
}

func (c composer) names(key string, texts []string, parse func(string) (hba.Name, error)) []hba.Name {
	if texts == nil {
		texts = []string{"all"}
	}
	all := make([]hba.Name, len(texts))
	for i, text := range texts {
		var err error
		if all[i], err = parse(text); err != nil {
			c.bad(config.Index(key, i), err.Error())
		}
	}
	return all
}

func (c composer) maps() hba.Maps {
	maps := make(hba.Maps, len(c.Auth.Maps))
	for name, lines := range c.Auth.Maps {
		maps[name] = nil
		for i, line := range lines {
			m, err := hba.ParseMapping(line.Certificate, line.User)
			if err != nil {
				c.bad(config.Index(config.Key("auth", "maps", name), i), err.Error())
			}
			maps[name] = append(maps[name], m)
		}
	}
	return maps
}

// hasRules reports whether rules say how clients prove who they are, instead of auth.method.
func (c composer) hasRules() bool { return len(c.Auth.Rules) > 0 || c.Auth.HbaFile != "" }
