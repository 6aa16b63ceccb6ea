// Package programs runs the real programs of solutions, over real TCP, among peers that
// behave, and among others. It has nothing but tests, which need Linux.
//
//   - flags: what the command line says is what the program does
//   - loads: many speak at once, and nobody who reads is cut off
//   - attacks, flood, kernel: whatever one address does, the others are served
//   - resume: peers come and go, and nothing is lost
//   - nginx: the last server behind nginx, with the configuration of solutions/deploy
//   - soak: thousands of peers among every fault at once
//
// process starts and watches a server; peers are what talks to it. What takes a while
// runs with -long only.
package programs
