//go:build !race

package simtest

const schedules = 600
