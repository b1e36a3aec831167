//go:build planted_stale_job

package loop

const (
	plantedLostWake = false
	plantedLostEdge = false
	plantedStaleJob = true
)
