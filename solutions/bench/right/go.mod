module example.com/wsworkshop/solutions/bench/right

go 1.26.0

require (
	example.com/wsworkshop v0.0.0
	github.com/coder/websocket v1.8.15
	github.com/google/uuid v1.6.0
	golang.org/x/time v0.16.0
)

replace example.com/wsworkshop => ../../..
