package limiter

import (
	"runtime"
	"syscall"
	"unsafe"
)

// newTable asks the kernel for the buckets, and not Go: its collector counts the
// pages of an allocation that nobody has touched like all others. Such a table
// would be most of GOMEMLIMIT, and Go would collect without end, and weir take
// itself for short of memory, for what is not there.
//
// Keys are spread evenly, so a huge page (Documentation/admin-guide/mm/transhuge.rst)
// would take 2 MiB for each of the first of them: there are to be none here.
//
// The collector is the owner: when it finds that nobody has the array in which
// shard lies, it gives the table back. So whoever uses buckets must use the
// shard after them; all who unlock it do. Where the kernel refuses, Go is asked,
// which has no way to refuse.
func newTable(buckets int, shard *rateShard) []rateBucket {
	mem, err := syscall.Mmap(-1, 0, buckets*int(unsafe.Sizeof(rateBucket{})), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return make([]rateBucket, buckets)
	}
	_ = syscall.Madvise(mem, syscall.MADV_NOHUGEPAGE) // a kernel without huge pages has no such advice
	runtime.AddCleanup(shard, func(mem []byte) { _ = syscall.Munmap(mem) }, mem)
	return unsafe.Slice((*rateBucket)(unsafe.Pointer(&mem[0])), buckets)
}
