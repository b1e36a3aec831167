package main

import (
	"os"
	"syscall"
)

// containerMemory is the smallest memory limit of the cgroups this process is in.
func containerMemory() (int64, bool) {
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	smallest, found := int64(0), false
	for _, path := range cgroupPaths(string(self)) {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if limit, ok := parseMemoryLimit(string(text)); ok && (!found || limit < smallest) {
			smallest, found = limit, true
		}
	}
	return smallest, found
}

func openFilesLimit() (uint64, bool) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return limit.Cur, err == nil
}
