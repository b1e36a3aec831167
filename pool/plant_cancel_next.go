//go:build plant_cancel_next

package pool

const plantCancelNext = true
