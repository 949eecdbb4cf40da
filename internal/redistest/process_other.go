//go:build !unix

package redistest

import "syscall"

// There are no such signals here: Stop and Cont fail the test.
const sigStop, sigCont = syscall.Signal(0), syscall.Signal(0)

func dieWithParent() *syscall.SysProcAttr { return nil }

func stopped(int) bool { return true }
