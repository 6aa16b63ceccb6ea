package main

import (
	"testing"

	"example.com/wsworkshop/steps/contract"
)

// TestServer holds this step's server to the contract of step 1.
func TestServer(t *testing.T) {
	contract.Run(t, 1, start)
}

// start tells the contracts how to reach this step's server.
func start(cfg contract.Config) contract.Server {
	server := NewServer(Config{Log: cfg.Log, Origins: cfg.Origins, AnyOrigin: cfg.AnyOrigin})
	return contract.Server{
		HTTP: newHTTPServer(server, cfg.Log),
		Main: main,
	}
}
