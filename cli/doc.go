// Package cli is the penstock command: what a person or a script types to operate a hub. It talks to the admin API
// (apis/admin) over the hub's unix socket or, from elsewhere, over TLS; validate alone works without any hub, on the
// code that the hub itself uses (manifest).
//
// New makes the command tree, Run executes it and returns the exit code:
//
//	0  done
//	1  failed, or there are findings: validate found some, diff found differences, the hub refused manifests as invalid
//	2  wrong usage; nothing was sent
//	3  the hub does not answer
//	4  not found
//	5  refused: not authorized, in conflict with what is there, or, with explain --exit-code, a request that would be
//
// What a program may want to read goes to standard output, everything that is for people only to standard error. Colours
// are used on a terminal alone, and not with --no-color or NO_COLOR (https://no-color.org).
//
// The value of a credential comes from standard input or a file, never from the command line, where shell history and
// process lists would keep it; nothing here prints one.
//
// Installed as kubectl-penstock the program is a kubectl plugin, and its usage texts say "kubectl penstock".
package cli
