//go:build !race

package sim

const schedules = 2000
