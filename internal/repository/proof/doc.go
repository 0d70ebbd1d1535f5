// Package proof owns the proof that package repository loses nothing. It has tests only,
// behind the build tag proof, which `make proof` runs:
//
//   - crash_test.go: whatever of backup, fold, prune and collection is cut short at whichever
//     PUT or DELETE, before or after it takes effect, by death, a lost answer or a cut
//     connection: every sealed snapshot restores, byte for byte, and the next run succeeds.
//     Every write of every scenario is struck, none is sampled.
//   - model_test.go: any number of writers, late and parked ones, pruners, collectors and readers at once,
//     over a store that delays, cuts and loses answers.
//   - flip_test.go: every bit flip in a stored object is detected.
//
// All of it runs on a store in memory under a virtual clock (testing/synctest), so that hours
// of waiting, and the backoff of thousands of failures, take no time. Fuzz targets of the
// parsers stand beside them, in package repository; an independent reader is in formattest.
package proof
