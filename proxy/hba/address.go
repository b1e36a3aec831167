package hba

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

type addressKind uint8

const (
	anyAddress addressKind = iota
	network                // a prefix
	sameHost               // one of this machine's own addresses
	sameNet                // one of the networks this machine is in
)

// Address is where clients of a rule come from. The zero value is from anywhere.
type Address struct {
	kind   addressKind
	prefix netip.Prefix
}

// ParseAddress reads all, samehost, samenet, an address, or one with a prefix length (10.0.0.0/8).
func ParseAddress(text string) (Address, error) {
	switch text {
	case "all":
		return Address{}, nil
	case "samehost":
		return Address{kind: sameHost}, nil
	case "samenet":
		return Address{kind: sameNet}, nil
	}
	if strings.Contains(text, "/") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return Address{}, fmt.Errorf("invalid network %q", text)
		}
		return prefixOf(prefix), nil
	}
	addr, err := netip.ParseAddr(text)
	switch {
	case err == nil && addr.Zone() == "":
		return prefixOf(netip.PrefixFrom(addr, addr.BitLen())), nil
	case err == nil || looksNumeric(text):
		return Address{}, fmt.Errorf("invalid address %q", text)
	}
	return Address{}, fmt.Errorf("host names such as %q are not supported: give addresses", text)
}

func looksNumeric(text string) bool {
	return strings.Trim(text, "0123456789abcdefABCDEF.:%") == "" && strings.ContainsAny(text, "0123456789:")
}

// parseMask reads an address and a mask of their own (10.0.0.0 255.0.0.0).
func parseMask(address, mask string) (Address, error) {
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.Zone() != "" {
		return Address{}, fmt.Errorf("invalid address %q", address)
	}
	m, err := netip.ParseAddr(mask)
	if err != nil || m.BitLen() != addr.BitLen() {
		return Address{}, fmt.Errorf("invalid mask %q", mask)
	}
	ones, bits := net.IPMask(m.AsSlice()).Size()
	if bits == 0 {
		return Address{}, errors.New("a mask must be ones followed by zeros")
	}
	return prefixOf(netip.PrefixFrom(addr, ones)), nil
}

// prefixOf takes v4 addresses in v6 notation for what they are, as those of clients are taken.
func prefixOf(p netip.Prefix) Address {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return Address{network, p.Masked()}
}

// contains reports whether addr is meant.
func (a Address) contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	switch a.kind {
	case anyAddress:
		return true
	case network:
		return a.prefix.Contains(addr)
	}
	return a.isOurs(addr)
}

// isOurs asks the system for the addresses it has now: they come and go.
func (a Address) isOurs(addr netip.Addr) bool {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, one := range own {
		p, err := netip.ParsePrefix(one.String())
		if err != nil {
			continue
		}
		ip := p.Addr().Unmap().WithZone("")
		if ip == addr || (a.kind == sameNet && netip.PrefixFrom(ip, p.Bits()).Masked().Contains(addr)) {
			return true
		}
	}
	return false
}
