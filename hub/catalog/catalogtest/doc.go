// Package catalogtest has a catalog in memory for tests, and the suite that every implementation of catalog.Catalog
// passes, this one included.
//
// [Memory] works inside testing/synctest: it uses channels and timers only. It can be made to fail and to forget its
// history. Only tests and package chaos import catalogtest.
package catalogtest
