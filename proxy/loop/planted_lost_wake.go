//go:build planted_lost_wake

package loop

const (
	plantedLostWake = true
	plantedLostEdge = false
	plantedStaleJob = false
)
