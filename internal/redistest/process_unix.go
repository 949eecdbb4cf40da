//go:build unix && !linux

package redistest

import "syscall"

const sigStop, sigCont = syscall.SIGSTOP, syscall.SIGCONT

func dieWithParent() *syscall.SysProcAttr { return nil }

func stopped(int) bool { return true }
