//go:build !linux

package main

import (
	"errors"
	"runtime"
	"time"
)

var errLinuxOnly = errors.New("CPU time and memory of another process are read on Linux only")

func cpuTime(int) (time.Duration, error) { return 0, errLinuxOnly }

func rss(int) (int64, error) { return 0, errLinuxOnly }

func cpuModel() string { return runtime.GOARCH }

func kernel() string { return runtime.GOOS }
