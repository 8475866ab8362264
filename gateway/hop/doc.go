// Package hop owns the names Penstock-* and CDN-Loop: parse, clamp, verdict, append. Nobody else spells them.
package hop
