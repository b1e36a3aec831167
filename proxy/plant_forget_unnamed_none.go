//go:build !plant_forget_unnamed

package proxy

// plantForgetUnnamed plants a bug that the simulation must find: a client's unnamed statement does not follow it to another
// connection.
const plantForgetUnnamed = false
