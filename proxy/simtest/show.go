package simtest

import (
	"fmt"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// show writes frames down for a reader.
func show(b []byte) string {
	var s strings.Builder
	for len(b) >= wire.HeaderLen {
		typ, body, rest, ok := wire.Next(b)
		if !ok {
			break
		}
		fmt.Fprintf(&s, "  %c %q", typ, body)
		b = rest
	}
	return s.String()
}
