// Package sim is the simulated driver of package loop: one seed determines everything that happens.
//
// A World has a virtual clock, loops whose pollers are simulated, and connections in memory. Its scheduler runs on the
// caller's goroutine and takes one step at a time: a turn of one loop, a delivery of some bytes, the end of a piece of
// background work, or a step of a model that the test has written. Which of the possible steps comes next, how long a
// delivery takes, where a write is split, how much of it is taken, when and how a connection breaks: all of it is drawn
// from the seed. Where nothing can run, the clock jumps to the next thing that will.
//
// The code under test is the real one: loops run loop.RunUntilStop, so fibers, timers, Post, the sleeping flag and the
// wake-ups are those of production. A wake-up that gets lost leaves its loop asleep for good, and Run says so.
//
// Rules for code that runs in a World:
//   - no goroutines, no channels between fibers, no wall clock, no iteration over maps that can be seen outside;
//   - what blocks goes through Fiber.Await or Loop.Offload, and must not block in truth;
//   - randomness comes from World.Rand.
//
// The same seed then gives the same Hash. Run a seed twice and compare.
//
// Reading order: world.go poller.go end.go transfer.go cut.go trace.go.
package sim
