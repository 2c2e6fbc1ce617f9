/*
 * A sensor in C: prints the frames of a file, two a second, for ever.
 *
 * A sensor is any program that prints one frame a line. The agent starts it, reads what it prints and sends that on.
 * Programs without an interpreter are called native, and a node runs them only when it says so:
 *
 *     runtimes: [auto, native]
 *     sensors:
 *       - { name: radar, runtime: native, command: [./radar, frames.jsonl] }
 */
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PERIOD_NS 500000000L

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Sleeps until PERIOD_NS after *due, so that what the work took does not add up. */
static void wait_for_next(struct timespec *due)
{
    due->tv_nsec += PERIOD_NS;
    due->tv_sec += due->tv_nsec / 1000000000L;
    due->tv_nsec %= 1000000000L;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, due, NULL);
}

/* The agent ends its sensors with SIGTERM. */
static void on_term(int signal)
{
    (void)signal;
    _Exit(0);
}

int main(int argc, char **argv)
{
    FILE *frames = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (frames == NULL) {
        fprintf(stderr, "usage: %s FRAMES\n", argv[0]);
        return 64;
    }
    signal(SIGTERM, on_term);
    struct timespec due;
    clock_gettime(CLOCK_MONOTONIC, &due);
    char *line = NULL;
    size_t size = 0;
    for (;; rewind(frames)) {
        while (getline(&line, &size, frames) > 0) {
            /* This is where a real sensor would measure; this one says that what was recorded happens now:
               it replaces the first key of {"timestamp":...,"delay":...}. The rest ends in a line feed. */
            const char *rest = strchr(line, ',');
            if (rest == NULL)
                continue;
            printf("{\"timestamp\":%lld%s", now_ms(), rest);
            /* A pipe is buffered otherwise, and frames would come late and many at once. */
            if (fflush(stdout) != 0)
                return 1;
            wait_for_next(&due);
        }
    }
}
