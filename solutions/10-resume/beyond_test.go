package main

import (
	"testing"

	"example.com/wsworkshop/steps/contract"
)

// TestBeyond holds the server to what it does beyond its promises.
func TestBeyond(t *testing.T) {
	contract.RunBeyond(t, start)
}
