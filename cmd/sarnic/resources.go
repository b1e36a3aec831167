package main

import (
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/sarnicdb/sarnic/config"
)

const (
	// memoryShare of the container's limit is given to Go's heap and runtime: the rest is for what Go does not count, above
	// all the kernel's socket buffers, which the container's limit includes.
	memoryShare = 0.9
	// gcPercent is half of Go's default. The heap of a pooler is many small idle sessions, and a steady relay allocates
	// next to nothing, so collections are rare and what may lie about between two of them is what costs.
	gcPercent = 50
	// spareFiles are descriptors that are neither clients nor servers: logs, listeners, epoll, eventfd, DNS, scrapes.
	spareFiles = 64
)

// fitContainer makes the garbage collector respect the container's memory limit, unless the operator has set Go's own
// variables.
func fitContainer(env config.LookupEnv, log *slog.Logger) {
	if _, set := env("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	if _, set := env("GOMEMLIMIT"); set {
		return
	}
	if limit, ok := containerMemory(); ok {
		soft := int64(float64(limit) * memoryShare)
		debug.SetMemoryLimit(soft)
		log.Debug("memory limit taken from the cgroup", "cgroup", config.Size(limit), "go", config.Size(soft))
	}
}

// checkFiles warns when clients and servers would run out of descriptors. The Go runtime has already raised the soft
// limit to the hard one.
func checkFiles(needed int, log *slog.Logger) {
	if limit, ok := openFilesLimit(); ok && limit < uint64(needed+spareFiles) {
		log.Warn("the limit of open files is below what the configuration allows: raise it (ulimit -n, LimitNOFILE=) or lower max_clients",
			"limit", limit, "needed", needed+spareFiles)
	}
}

// parseMemoryLimit reads a cgroup's memory.max or memory.limit_in_bytes. Without a limit the one says "max" and the other
// a number no machine has.
func parseMemoryLimit(text string) (int64, bool) {
	const none = int64(1) << 60
	limit, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return limit, err == nil && limit > 0 && limit < none
}

// cgroupPaths lists the files that may hold this process's memory limit, its own group's first, given the contents of
// /proc/self/cgroup. In a container with its own cgroup namespace the path is "/"; elsewhere every group above counts too.
func cgroupPaths(self string) []string {
	var paths []string
	for line := range strings.Lines(self) {
		// 0::/system.slice/sarnic.service (version 2) or 4:memory:/kubepods/… (version 1)
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		root, file := "/sys/fs/cgroup", "/memory.max"
		if fields[1] == "memory" {
			root, file = "/sys/fs/cgroup/memory", "/memory.limit_in_bytes"
		} else if fields[1] != "" {
			continue
		}
		for group := strings.TrimRight(fields[2], "/"); ; {
			paths = append(paths, root+group+file)
			above := strings.LastIndexByte(group, '/')
			if above < 0 {
				break
			}
			group = group[:above]
		}
	}
	return paths
}
