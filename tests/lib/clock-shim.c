/* Preloaded into a process: its wall clock is off by as many seconds as the file
   CLOCK_OFFSET_FILE says. Read at each call, so that it can jump. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t clock_offset(void)
{
	char text[32];
	ssize_t size = -1;
	int fd = open(CLOCK_OFFSET_FILE, O_RDONLY | O_CLOEXEC);

	if (fd != -1) {
		size = read(fd, text, sizeof(text) - 1);
		(void)close(fd);
	}
	text[size < 0 ? 0 : size] = '\0';
	return strtoll(text, NULL, 10);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	static int (*real)(clockid_t, struct timespec *);
	int ret;

	if (real == NULL)
		real = (int (*)(clockid_t, struct timespec *))
			dlsym(RTLD_NEXT, "clock_gettime");
	ret = real(id, ts);
	if (ret == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		ts->tv_sec += clock_offset();
	return ret;
}

int gettimeofday(struct timeval *tv, void *tz)
{
	struct timespec ts;

	(void)tz;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *time_r)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	if (time_r != NULL)
		*time_r = ts.tv_sec;
	return ts.tv_sec;
}
