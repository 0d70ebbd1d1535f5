// Package e2e holds tests of the whole fleet and nothing else: the real programs as
// processes, on real Redis, Postgres and an S3 server, against a simulated Microsoft
// 365. The tests speak to the fleet as a user does, over its REST API.
package e2e
