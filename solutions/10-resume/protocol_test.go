package main

import (
	"testing"

	"example.com/wsworkshop/steps/contract"
)

// TestProtocol holds the server to RFC 6455, byte for byte.
func TestProtocol(t *testing.T) {
	contract.RunProtocol(t, start)
}
