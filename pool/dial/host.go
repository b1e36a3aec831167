package dial

import "strings"

// Endpoint is where connections go: the host, of several all of them with commas between, and the port of the first. Of a unix
// socket the host is its directory.
func (c Config) Endpoint() (host string, port int) {
	if c.pg == nil {
		return "", 0
	}
	hosts := []string{c.pg.Host}
	for _, f := range c.pg.Fallbacks {
		if f.Host != hosts[len(hosts)-1] { // the same host comes again without TLS
			hosts = append(hosts, f.Host)
		}
	}
	return strings.Join(hosts, ","), int(c.pg.Port)
}
