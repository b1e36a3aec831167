//go:build !plant_cancel_next

package pool

// plantCancelNext plants a bug that the simulation must find: a connection is lent again while a cancel request to it is under way.
const plantCancelNext = false
