//go:build !race

package proxy

const (
	simSchedules = 10_000
	simTwice     = 50 // one in so many is played twice, and must be the same
)
