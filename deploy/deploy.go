// Package deploy holds what it takes to run countersign in containers, and the tests that keep it in order.
package deploy
