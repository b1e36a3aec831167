//go:build !plant_release_early

package proxy

// plantReleaseEarly plants a bug that the simulation must find: a connection is given back while its last ReadyForQuery is
// still to come.
const plantReleaseEarly = false
