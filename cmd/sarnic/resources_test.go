package main

import (
	"slices"
	"testing"
)

func TestMemoryLimitOfACgroup(t *testing.T) {
	for text, want := range map[string]int64{
		"268435456\n": 268435456, "max\n": 0, "9223372036854771712\n": 0, "": 0, "0\n": 0, "-1\n": 0,
	} {
		if got, ok := parseMemoryLimit(text); ok != (want > 0) || ok && got != want {
			t.Errorf("%q: got %d, %t, want %d", text, got, ok, want)
		}
	}
}

func TestFilesWithACgroupsLimit(t *testing.T) {
	for self, want := range map[string][]string{
		"0::/\n": {"/sys/fs/cgroup/memory.max"},
		"0::/system.slice/sarnic.service\n": {
			"/sys/fs/cgroup/system.slice/sarnic.service/memory.max", "/sys/fs/cgroup/system.slice/memory.max", "/sys/fs/cgroup/memory.max",
		},
		"5:cpu:/a\n4:memory:/pod\n1:name=systemd:/x\n": {
			"/sys/fs/cgroup/memory/pod/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
		},
		"nonsense\n0::relative\n": {"/sys/fs/cgrouprelative/memory.max"},
		"":                        nil,
	} {
		if got := cgroupPaths(self); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", self, got, want)
		}
	}
}

func TestLimitsOfThisProcess(t *testing.T) {
	if limit, ok := openFilesLimit(); ok && limit == 0 {
		t.Error("no open files allowed?")
	}
	if limit, ok := containerMemory(); ok && limit <= 0 {
		t.Errorf("memory limit %d", limit)
	}
}
