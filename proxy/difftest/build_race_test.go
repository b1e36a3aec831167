//go:build race

package difftest

// raceDetector says that the proxy and the tests run under the race detector, which multiplies memory and time.
const raceDetector = true

var raceArgs = []string{"-race"}
