package main

import (
	"testing"

	"example.com/wsworkshop/steps/contract"
)

// go test runs the inputs in testdata/fuzz; -v says which one, should the whole
// program die. To look for new inputs:
//
//	go test ./solutions/10-resume -fuzz FuzzFrames -fuzzminimizetime 10x
//
// Which goroutine runs first differs from run to run, and with it the coverage. So
// it is a waste to minimize each input for long (60 s, if nothing is said).

func FuzzFrames(f *testing.F)    { contract.FuzzFrames(f, start) }
func FuzzHandshake(f *testing.F) { contract.FuzzHandshake(f, start) }
func FuzzActions(f *testing.F)   { contract.FuzzActions(f, start) }
