/*
 * What Chromium asks of the machine, answered as the phone would: preloaded into the browser.
 *
 * deviceMemory has no override at all, and hardwareConcurrency's reaches a worker only after it may
 * have started; both, and the kind of network, are read natively from here. The profile's numbers
 * come in the environment; without them every answer is the machine's own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/* Asks for a wireless interface's protocol; whoever has one is on Wi-Fi. */
#define SIOCGIWNAME 0x8B01

/* A small number from the environment, or 0. */
static long told(const char *name)
{
    const char *text = getenv(name);
    long number = 0;
    for (; text && *text >= '0' && *text <= '9' && number < 1000; text++)
        number = number * 10 + (*text - '0');
    return number;
}

long sysconf(int name)
{
    static long (*next)(int);
    if (!next)
        next = (long (*)(int))dlsym(RTLD_NEXT, "sysconf");
    long cores = told("PHONE_CORES");
    long gib = told("PHONE_MEMORY_GIB");
    switch (name) {
    case _SC_NPROCESSORS_ONLN:
    case _SC_NPROCESSORS_CONF:
        return cores ? cores : next(name);
    case _SC_PHYS_PAGES:
        return gib ? (gib << 30) / next(_SC_PAGESIZE) : next(name);
    default:
        return next(name);
    }
}

int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
    static int (*next)(pid_t, size_t, cpu_set_t *);
    if (!next)
        next = (int (*)(pid_t, size_t, cpu_set_t *))dlsym(RTLD_NEXT, "sched_getaffinity");
    int failed = next(pid, size, set);
    long cores = told("PHONE_CORES");
    if (failed || !cores)
        return failed;
    CPU_ZERO_S(size, set);
    for (long cpu = 0; cpu < cores; cpu++)
        CPU_SET_S(cpu, size, set);
    return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
    static int (*next)(int, unsigned long, void *);
    if (!next)
        next = (int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (request == SIOCGIWNAME && told("PHONE_WIFI"))
        return 0;
    return next(fd, request, argument);
}
