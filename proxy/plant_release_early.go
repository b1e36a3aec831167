//go:build plant_release_early

package proxy

const plantReleaseEarly = true
