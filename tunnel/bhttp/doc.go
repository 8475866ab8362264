// Package bhttp is the wire codec of tunnels: RFC 9292 binary HTTP, indeterminate-length form only.
package bhttp
