//go:build !linux

package main

// containerMemory: only Linux has cgroups.
func containerMemory() (int64, bool) { return 0, false }

// openFilesLimit: the check is only worth its while where thousands of clients are served.
func openFilesLimit() (uint64, bool) { return 0, false }
