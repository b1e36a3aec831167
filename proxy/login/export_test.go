package login

import "github.com/sarnicdb/sarnic/proxy/wire"

// ParseClientFirst and ParseClientFinal are fuzzed from outside.
func ParseClientFirst(msg []byte, plus, offered bool) (gs2 string, bare, nonce []byte, fault *wire.Error) {
	first, fault := parseClientFirst(msg, plus, offered)
	return first.gs2, first.bare, first.nonce, fault
}

// ParseClientFinal see above.
func ParseClientFinal(msg, binding []byte, plus bool) (signed, nonce, proof []byte, fault *wire.Error) {
	final, fault := parseClientFinal(msg, binding, plus)
	return final.signed, final.nonce, final.proof[:], fault
}
