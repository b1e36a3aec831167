package difftest

import "slices"

// buildArgs build the proxy under test as the tests are built.
var buildArgs = slices.Concat(raceArgs, loopArgs)
