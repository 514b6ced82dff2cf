/* Preloaded into a process: each flush of a file takes SLOW_FLUSH_USECS longer, as
   on a disk that has no cache of its own which outlives a power cut. Flushes of
   several processes don't wait for each other. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <time.h>
#include <unistd.h>

static int slow_flush(const char *name, int fd)
{
	struct timespec left = {
		.tv_sec = SLOW_FLUSH_USECS / 1000000,
		.tv_nsec = SLOW_FLUSH_USECS % 1000000 * 1000,
	};
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);

	while (nanosleep(&left, &left) < 0 && errno == EINTR) ;
	return real(fd);
}

int fsync(int fd)
{
	return slow_flush("fsync", fd);
}

int fdatasync(int fd)
{
	return slow_flush("fdatasync", fd);
}
