package accesslog

import "syscall"

// ofKernel says whether path is a file of /proc or /sys: they look like regular
// files, and what is written to one is a setting.
func ofKernel(path string) bool {
	const proc, sysfs = 0x9fa0, 0x62656572 // statfs(2)
	var s syscall.Statfs_t
	if syscall.Statfs(path, &s) != nil {
		return false
	}
	return s.Type == proc || s.Type == sysfs
}
