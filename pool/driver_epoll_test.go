//go:build linux && !loop_std

package pool

// noticesAtOnce says whether a loop knows of all that has happened to its connections when it runs what was posted
// later: one poll brings both.
const noticesAtOnce = true
