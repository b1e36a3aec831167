//go:build cgo

package router

// Ready reports whether the grammar can be asked without a wait of seconds. In C it always can.
func Ready() bool { return true }

// Warm makes the grammar ready.
func Warm() {}
