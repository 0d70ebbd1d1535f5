// Package formattest reads a repository with nothing but docs/FORMAT.md, the protobuf
// messages that it names, and the algorithms that it names. It imports nothing of package
// repository: where the two read one bucket differently, either the document or the program
// is wrong. It is as simple as it can be, holds everything in memory, and stops at the first
// thing that is not as the document says. For tests only.
//
//	bucket ── keys ──► manifest ──► segments, inline delta ──► entries ──► packs, chunks
package formattest
