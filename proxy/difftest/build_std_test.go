//go:build loop_std

package difftest

var loopArgs = []string{"-tags", "loop_std"}
