//go:build race

package main

// raceArgs build sarnic as these tests are built.
var raceArgs = []string{"-race"}
