//go:build loop_std || !linux

package pool

// noticesAtOnce says whether a loop knows of all that has happened to its connections when it runs what was posted
// later. The driver of goroutines hears of it a moment after.
const noticesAtOnce = false
