// Package app owns how a program of the fleet is put together: configuration, what
// opens in which order, health, telemetry and the graceful stop. It wires
// implementations into the interfaces of the rooms below and holds no logic of its own.
package app
