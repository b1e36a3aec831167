//go:build !race && !plant_release_early && !plant_forget_unnamed && !plant_cancel_next

package proxy

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"
)

// A simulation that finds nothing proves nothing, so bugs are planted by build tags (plant_*.go) and must be found.
func TestPlantedBugsAreFound(t *testing.T) {
	for _, tag := range []string{"plant_release_early", "plant_forget_unnamed", "plant_cancel_next"} {
		t.Run(tag, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
			defer stop()
			cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-tags", tag, "-run", "^TestSchedules$", ".")
			cmd.Env = append(os.Environ(), "SARNIC_SIM_SEED=", "SARNIC_SIM_COUNT=400")
			out, err := cmd.CombinedOutput()
			found := regexp.MustCompile(`seed \d+: .{0,200}`).Find(out) // a failure to build is none
			if err == nil || found == nil {
				t.Fatalf("not found: %v\n%s", err, out[max(0, len(out)-2000):])
			}
			t.Logf("found: %s", found)
		})
	}
}
