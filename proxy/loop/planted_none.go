//go:build !planted_lost_wake && !planted_lost_edge && !planted_stale_job

package loop

// Bugs that the simulator must find, planted by build tags so that a test can show that it does.
const (
	plantedLostWake = false // Post does not wake a loop that sleeps
	plantedLostEdge = false // an event is forgotten when its fiber waits for the other conn
	plantedStaleJob = false // a job queued for a conn runs although another fiber has taken the conn
)
