//go:build race

package proxy

// The race detector makes a schedule ten times as slow and looks for nothing that one goroutine can do wrong.
const (
	simSchedules = 500
	simTwice     = 50
)
