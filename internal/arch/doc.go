// Package arch holds no code, only tests of the shape of the code: which package may import which, what the pure core must
// not touch, and habits that a linter cannot see. docs/architecture.md has the picture; a failure here names the file, the
// rule and the way out.
package arch
