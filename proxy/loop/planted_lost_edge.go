//go:build planted_lost_edge

package loop

const (
	plantedLostWake = false
	plantedLostEdge = true
	plantedStaleJob = false
)
