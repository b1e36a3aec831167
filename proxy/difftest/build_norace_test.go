//go:build !race

package difftest

const raceDetector = false

var raceArgs []string
