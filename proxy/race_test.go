//go:build race

package proxy

// raceDetector says that allocations are not what they are without it.
const raceDetector = true
