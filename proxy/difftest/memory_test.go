package difftest

import "testing"

// grewAtMost fails if the proxy's peak is more than limit above what it was before; the race detector's shadow of every
// byte in use counts extra.
func (p *proxy) grewAtMost(t testing.TB, before, limit int) {
	t.Helper()
	if raceDetector {
		limit *= 5
	}
	grown := p.peakMemory(t) - before
	t.Logf("the proxy's memory grew by %d MB", grown>>20)
	if grown > limit {
		t.Errorf("the proxy's memory grew by %d MB, at most %d MB were allowed", grown>>20, limit>>20)
	}
}
