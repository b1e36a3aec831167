//go:build !loop_std

package difftest

var loopArgs []string
