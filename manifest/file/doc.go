// Package file watches a folder of manifests and hands on what it holds: one consistent manifest.Set with its problems,
// at the start and after each change. It does not imitate an API server and does not translate: read manifest and
// manifest/feed for that.
//
// # What is read
//
// Every regular file named *.yaml, *.yml or *.json in the folder and its subfolders, and links to such files. Names that
// begin with a dot are skipped, which also skips the "..data" folders of a mounted ConfigMap or Secret; its files are
// links through "..data", so a swap of that link is a change of all of them at once. Links to folders are not followed.
//
// # What a broken file does
//
// A faulty document costs only itself, and not even that if it was good before: as long as a file holds a faulty
// document, or cannot be read, the objects that the file gave last and does not give now are kept in their last good
// version, with a problem of reason Stale each. A half-written file or a slip of the editor so takes nothing down; an
// object whose document was deleted in the same edit lives until the file is whole again. A file that is gone takes its
// objects along at once. If the folder itself cannot be read everything is kept. At the start there is nothing to keep.
//
// # Changes
//
// Changes are noticed by the system's file events and, where those are missing or got lost (network file systems), by
// reading the folder every few seconds. Bursts are joined: the folder is read when it was quiet for a moment, but not
// later than a second after the first event. An unchanged folder is not handed on again.
package file
