package main

import (
	"fmt"
	"slices"
)

// cell is one kind of load. Every target is measured in every cell.
type cell struct {
	Script    string `json:"script"` // select or tpcb
	Mode      string `json:"mode"`   // pgbench -M
	Clients   int    `json:"clients"`
	TLS       bool   `json:"tls,omitempty"`       // between pgbench and the target; never behind a proxy
	Reconnect bool   `json:"reconnect,omitempty"` // pgbench -C: connect, one transaction, disconnect
}

// String is the name that -cells matches and the tables show.
func (c cell) String() string {
	s := fmt.Sprintf("%s/%s/%d", c.Script, c.Mode, c.Clients)
	if c.TLS {
		s += "/tls"
	}
	if c.Reconnect {
		s += "/reconnect"
	}
	return s
}

// group is what the summary takes a geometric mean over.
func (c cell) group() string {
	switch {
	case c.Reconnect:
		return "reconnect"
	case c.TLS:
		return c.Script + " tls"
	}
	return c.Script
}

// builtin is pgbench's name of the script.
func (c cell) builtin() string {
	if c.Script == scriptSelect {
		return "select-only"
	}
	return "tpcb-like"
}

// logRate is the share of transactions pgbench logs: at tens of thousands a second a sample is enough for p99, and
// writing every line would cost the machine, and so all targets, a few per cent.
func (c cell) logRate() string {
	if c.Script == scriptSelect && !c.Reconnect {
		return "0.25"
	}
	return "1"
}

const (
	scriptSelect = "select"
	scriptTPCB   = "tpcb"

	phasePlain     = "plain"
	phaseReconnect = "reconnect"
	phaseTLS       = "tls"
	phaseIdle      = "idle"
	phaseIdleTLS   = "idle-tls"

	// maxSideClients bounds the reconnect and TLS cells: above it they only repeat what the plain cells say about waiting.
	maxSideClients = 64
)

// plainCells are those served by processes without TLS.
func (o *options) plainCells() []cell {
	var cs []cell
	if slices.Contains(o.only, phasePlain) {
		for _, script := range o.scripts {
			cs = append(cs, o.cross(cell{Script: script}, o.modes)...)
		}
	}
	if slices.Contains(o.only, phaseReconnect) {
		cs = append(cs, o.cross(cell{Script: scriptSelect, Reconnect: true}, []string{"simple"})...)
	}
	return o.pick(cs)
}

func (o *options) tlsCells() []cell {
	if !slices.Contains(o.only, phaseTLS) {
		return nil
	}
	modes := slices.DeleteFunc(slices.Clone(o.modes), func(m string) bool { return m == "extended" })
	return o.pick(o.cross(cell{Script: scriptSelect, TLS: true}, modes))
}

func (o *options) cross(c cell, modes []string) []cell {
	var cs []cell
	for _, c.Mode = range modes {
		for _, c.Clients = range o.clients {
			if c.Clients <= maxSideClients || !c.TLS && !c.Reconnect {
				cs = append(cs, c)
			}
		}
	}
	return cs
}

func (o *options) pick(cs []cell) []cell {
	return slices.DeleteFunc(cs, func(c cell) bool { return o.cells != nil && !o.cells.MatchString(c.String()) })
}
