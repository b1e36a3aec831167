//go:build !linux

package main

import "errors"

var errLinuxOnly = errors.New("memory and descriptors of another process are read on Linux only")

func residentSet(int) (int64, error) { return 0, errLinuxOnly }

func descriptors(int) (int, error) { return 0, errLinuxOnly }
