package hba

import (
	"errors"
	"fmt"
	"strings"
)

// ReadRules reads a file in the format of pg_hba.conf. The error is that of opening it.
func ReadRules(path string, files Files) (rules []Rule, mistakes []Mistake, err error) {
	r := &reader{files: files}
	r.use = func(path string, l line) {
		rule, at, err := parseRule(l)
		if err != nil {
			r.mistake(path, at.line, at.column, "%v", err)
			return
		}
		rule.Place = fmt.Sprintf("%s:%d", path, l.number)
		rules = append(rules, rule)
	}
	err = r.file(path, 0)
	return rules, r.mistakes, err
}

// ReadMaps reads a file in the format of pg_ident.conf. The error is that of opening it.
func ReadMaps(path string, files Files) (maps Maps, mistakes []Mistake, err error) {
	r := &reader{files: files}
	maps = make(Maps)
	r.use = func(path string, l line) {
		at := l.fields[0][0]
		if len(l.fields) != 3 || len(l.fields[0])+len(l.fields[1])+len(l.fields[2]) != 3 {
			r.mistake(path, at.line, at.column, "a line of a map has its name, a name outside and a user")
			return
		}
		m, err := parseMapping(l.fields[1][0], l.fields[2][0])
		if err != nil {
			r.mistake(path, l.fields[1][0].line, l.fields[1][0].column, "%v", err)
			return
		}
		maps[at.text] = append(maps[at.text], m)
	}
	err = r.file(path, 0)
	return maps, r.mistakes, err
}

// fields hands out the fields of a line one by one.
type fields struct {
	rest [][]token
	last token // where to look for what is wrong
}

// next is the next field.
func (f *fields) next(what string) ([]token, error) {
	if len(f.rest) == 0 {
		return nil, fmt.Errorf("the line ends before %s", what)
	}
	field := f.rest[0]
	f.rest, f.last = f.rest[1:], field[0]
	return field, nil
}

// word is the next field, which must be a single word.
func (f *fields) word(what string) (token, error) {
	field, err := f.next(what)
	if err == nil && len(field) > 1 {
		err = fmt.Errorf("more than one value for %s", what)
	}
	if err != nil {
		return token{}, err
	}
	return field[0], nil
}

// parseRule reads a line. at is where its mistake is.
func parseRule(l line) (r Rule, at token, err error) {
	f := &fields{rest: l.fields}
	r, err = f.rule()
	return r, f.last, err
}

func (f *fields) rule() (r Rule, err error) {
	kind, err := f.word("the type")
	if err != nil {
		return r, err
	}
	if r.Type, err = ParseType(kind.text); err != nil {
		return r, err
	}
	if r.Databases, err = f.names("the database", databaseWord); err != nil {
		return r, err
	}
	if r.Users, err = f.names("the user", userWord); err != nil {
		return r, err
	}
	if r.Type != Local {
		if r.Address, err = f.address(); err != nil {
			return r, err
		}
	}
	method, err := f.word("the method")
	if err != nil {
		return r, err
	}
	if r.Method, err = ParseMethod(method.text); err != nil {
		return r, err
	}
	for len(f.rest) > 0 {
		options, err := f.next("")
		if err != nil {
			return r, err
		}
		for _, option := range options {
			f.last = option
			if err := r.option(option.text); err != nil {
				return r, err
			}
		}
	}
	return r, r.Validate()
}

func (f *fields) names(what string, word func(string) (nameKind, string)) (all []Name, err error) {
	field, err := f.next(what)
	if err != nil {
		return nil, err
	}
	for _, t := range field {
		f.last = t
		if t.quoted && t.text == "" { // nobody's name; also the place of an @file without words
			all = append(all, Name{})
			continue
		}
		n, err := parseName(t, word)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// address reads one field, or two: an address and its mask.
func (f *fields) address() (Address, error) {
	t, err := f.word("the address")
	if err != nil {
		return Address{}, err
	}
	if t.quoted && isAddressWord(t.text) {
		return Address{}, fmt.Errorf("host names such as %q are not supported: give addresses", t.text)
	}
	if len(f.rest) > 0 && len(f.rest[0]) == 1 && !strings.Contains(t.text, "/") && isMask(f.rest[0][0].text) {
		mask, err := f.word("the mask")
		if err != nil {
			return Address{}, err
		}
		return parseMask(t.text, mask.text)
	}
	return ParseAddress(t.text)
}

func isAddressWord(text string) bool { return text == "all" || text == "samehost" || text == "samenet" }

// isMask tells a mask from a method.
func isMask(text string) bool { return strings.ContainsAny(text, ".:") && looksNumeric(text) }

// ParseType reads a type of rules.
func ParseType(text string) (Type, error) {
	switch t := Type(text); t {
	case Local, Host, HostSSL, HostNoSSL:
		return t, nil
	case "hostnogssenc": // GSSAPI encryption is never spoken here
		return Host, nil
	case "hostgssenc":
		return "", errors.New("GSSAPI encryption is not supported")
	}
	return "", fmt.Errorf("unknown type %q: must be local, host, hostssl or hostnossl", text)
}

// ParseMethod reads a method.
func ParseMethod(text string) (Method, error) {
	switch m := Method(text); m {
	case Trust, Reject, Password, MD5, SCRAM, Cert:
		return m, nil
	case "peer", "ident", "gss", "sspi", "pam", "ldap", "radius", "bsd", "oauth":
		return "", fmt.Errorf("method %s is not supported", text)
	}
	return "", fmt.Errorf("unknown method %q: must be trust, reject, password, md5, scram-sha-256 or cert", text)
}

// option reads name=value behind the method.
func (r *Rule) option(text string) error {
	name, value, ok := strings.Cut(text, "=")
	switch {
	case !ok:
		return fmt.Errorf("option %q is not name=value", text)
	case name == "map":
		r.Map = value
	case name == "clientcert":
		r.ClientCert = ClientCert(value)
	case name == "clientname":
		r.ClientName = CertName(value)
	default:
		return fmt.Errorf("option %q is not supported", name)
	}
	return nil
}

// Validate says what does not go together in a rule.
func (r *Rule) Validate() error {
	switch {
	case r.ClientCert != AnyCert && r.ClientCert != VerifyCA && r.ClientCert != VerifyFull:
		return fmt.Errorf("clientcert must be verify-ca or verify-full, got %q", r.ClientCert)
	case r.ClientName != "" && r.ClientName != CN && r.ClientName != DN && r.ClientName != SAN:
		return fmt.Errorf("clientname must be CN, DN or SAN, got %q", r.ClientName)
	case r.NeedsCertificate() && r.Type != HostSSL:
		return errors.New("certificates are shown over TLS only: the type must be hostssl")
	case r.Method == Cert && r.ClientCert == VerifyCA:
		return errors.New("method cert means clientcert=verify-full")
	case (r.Map != "" || r.ClientName != "") && !r.NamesUser():
		return errors.New("map and clientname need method cert or clientcert=verify-full")
	}
	return nil
}
