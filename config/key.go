package config

import (
	"strconv"
	"strings"
)

// Key is the way from the top of the file to a value, as errors show it: Key("databases", "app", "pool") is
// databases.app.pool. A name that is not a plain word is quoted: databases["my.db"].
func Key(names ...string) string {
	key := ""
	for _, name := range names {
		key = join(key, name)
	}
	return key
}

// Index is the key of the i-th item of the list at key: Index("databases.app.replicas", 0) is databases.app.replicas[0].
func Index(key string, i int) string {
	return key + "[" + strconv.Itoa(i) + "]"
}

func join(key, name string) string {
	switch {
	case !isWord(name):
		return key + "[" + strconv.Quote(name) + "]"
	case key == "":
		return name
	default:
		return key + "." + name
	}
}

func isWord(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && r != '*' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

// isWithin reports whether key is block or lies below it.
func isWithin(key, block string) bool {
	rest, ok := strings.CutPrefix(key, block)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
