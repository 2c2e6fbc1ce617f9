/*
 * A sensor in C: prints the frames of a file, two per second, forever.
 *
 * A sensor is any program that prints one frame per line. The agent starts it, reads its output and forwards the frames.
 * A compiled program is called native. A node runs native sensors only if its config lists that runtime:
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

/* Sleeps until PERIOD_NS after *due, so that delays do not add up. */
static void wait_for_next(struct timespec *due)
{
    due->tv_nsec += PERIOD_NS;
    due->tv_sec += due->tv_nsec / 1000000000L;
    due->tv_nsec %= 1000000000L;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, due, NULL);
}

/* The agent stops its sensors with SIGTERM. */
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
            /* A real sensor would measure here. This one replaces the recorded time, the first key of
               {"timestamp":...,"delay":...}, with the current time. The rest ends in a line feed. */
            const char *rest = strchr(line, ',');
            if (rest == NULL)
                continue;
            printf("{\"timestamp\":%lld%s", now_ms(), rest);
            /* Without a flush, a pipe is buffered: frames would arrive late and in bursts. */
            if (fflush(stdout) != 0)
                return 1;
            wait_for_next(&due);
        }
    }
}
