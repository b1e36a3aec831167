//go:build !cgo

package router

import (
	"runtime/debug"
	"sync/atomic"
)

//nolint:gochecknoglobals // about the grammar, of which a process has one
var warm atomic.Bool

// Ready reports whether the grammar can be asked without a wait of seconds.
func Ready() bool { return warm.Load() }

// Warm makes the grammar ready: its WebAssembly is compiled, which takes seconds and much memory for a while.
func Warm() {
	if warm.Load() {
		return
	}
	Analyze("SELECT 1")
	debug.FreeOSMemory()
	warm.Store(true)
}
