// Package demo runs the main job on loopback: a stand-in provider, two hubs with an embedded etcd, two spokes and a
// gateway without a hub, all real processes with the files of examples/standalone, registered and fed through the same
// commands a user would type. It checks what it shows: every line is something that was seen.
package demo
