// Package e2e holds end-to-end tests: real hubs and real spokes, in one process, on loopback addresses and free ports, with
// the same configuration files and manifests that users write. The outside is internal/testkit/origin.
//
// What one package can show alone is tested there; here stands only what needs the whole chain: secrets that must appear
// nowhere, values that change while requests run, tunnels that are cut or drained, bodies of every form. Nothing here
// imports the inside of a package: a world knows processes by their files, sockets, logs and answers.
//
// Read world_test.go first.
package e2e
