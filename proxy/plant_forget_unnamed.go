//go:build plant_forget_unnamed

package proxy

const plantForgetUnnamed = true
