//go:build race

package simtest

// The race detector makes a step ten times as slow and finds nothing in one goroutine that fewer schedules do not show.
const schedules = 60
