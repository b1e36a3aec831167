package dial

import (
	"net/url"
	"strings"
)

// Files lists the files that a DSN names. What they say is part of what the DSN means.
func Files(dsn string) []string {
	var files []string
	for _, option := range []string{"sslrootcert", "sslcert", "sslkey", "passfile", "servicefile"} {
		if path := optionOf(dsn, option); path != "" && path != "system" {
			files = append(files, path)
		}
	}
	return files
}

// optionOf finds an option in a URL or among keywords, "" where it is not given. Of a DSN that is not well-formed nothing
// is found.
func optionOf(dsn, name string) string {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		parsed, err := url.Parse(dsn)
		if err != nil {
			return ""
		}
		return parsed.Query().Get(name)
	}
	found := ""
	for rest := dsn; ; {
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			return found
		}
		var value string
		value, rest = cutValue(strings.TrimLeft(after, " \t\n\r"))
		if strings.TrimSpace(key) == name {
			found = value
		}
	}
}

// cutValue reads the value that s begins with, as libpq does: in single quotes or up to a space, with backslashes before
// what is meant as it is.
func cutValue(s string) (value, rest string) {
	quoted := strings.HasPrefix(s, "'")
	if quoted {
		s = s[1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case quoted && c == '\'', !quoted && strings.IndexByte(" \t\n\r", c) >= 0:
			return b.String(), s[i+1:]
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}
