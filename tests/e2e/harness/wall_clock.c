/* A wall clock that a test can step for one program: the offset in seconds is read from a file. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
	const char *path = getenv("WALL_CLOCK_OFFSET");
	char text[32];
	int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (file < 0)
		return 0;
	ssize_t read_now = read(file, text, sizeof text - 1);
	close(file);
	if (read_now <= 0)
		return 0;
	text[read_now] = 0;
	return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
	int failed = syscall(SYS_clock_gettime, clock, now);
	if (!failed && clock == CLOCK_REALTIME)
		now->tv_sec += offset();
	return failed;
}
