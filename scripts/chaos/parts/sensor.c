/*
 * The sensor of the chaos test: prints numbered frames in bursts, and keeps a record of their number that survives any kill.
 *
 *   sensor DIR FRAMES_PER_S PAD_BYTES_MAX
 *
 * Each run takes the next free number in DIR as the name of its record, which holds CHAOS_LIFE (the agent's life), the number
 * of frames begun and the number of frames done. A frame's `delay` is the run, its `doppler` the frame's number. While DIR/hold
 * exists, the sensor prints nothing. SIGTERM ends it between two frames, so that begun and done are then equal.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define RUNS_MAX 99999
#define BURST_MAX 64
#define PAD_MAX 60000
#define FIRST_MS 1783500000000ULL
#define RUN_MS 100000000ULL
#define HOLD_NS 10000000L

struct record {
    uint64_t life;
    uint64_t begun;
    uint64_t done;
};

static volatile sig_atomic_t ended;

static void on_term(int signal)
{
    (void)signal;
    ended = 1;
}

static struct record *new_record(const char *dir, unsigned *run)
{
    char path[4096];
    for (*run = 1; *run <= RUNS_MAX; ++*run) {
        snprintf(path, sizeof path, "%s/%05u", dir, *run);
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd < 0 && errno == EEXIST) continue;
        if (fd < 0 || ftruncate(fd, sizeof(struct record)) != 0) break;
        void *record = mmap(NULL, sizeof(struct record), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        return record == MAP_FAILED ? NULL : record;
    }
    return NULL;
}

/* Completes a line even if a signal interrupts it. */
static int write_all(const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(STDOUT_FILENO, bytes, length);
        if (n < 0 && errno != EINTR) return -1;
        if (n < 0) continue;
        bytes += n;
        length -= (size_t)n;
    }
    return 0;
}

static void pause_ns(long ns)
{
    struct timespec pause = {ns / 1000000000L, ns % 1000000000L};
    nanosleep(&pause, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 4) return 64;
    long rate = atol(argv[2]);
    unsigned pad_max = (unsigned)atol(argv[3]) % PAD_MAX + 1;
    const char *life = getenv("CHAOS_LIFE");
    char hold[4096];
    snprintf(hold, sizeof hold, "%s/hold", argv[1]);
    struct sigaction action = {.sa_handler = on_term};
    sigaction(SIGTERM, &action, NULL);
    unsigned run;
    struct record *record = new_record(argv[1], &run);
    if (record == NULL || rate <= 0) return 1;
    record->life = life == NULL ? 0 : strtoull(life, NULL, 10);

    static char line[PAD_MAX + 256];
    uint32_t chance = run * 2654435761u;
    while (!ended) {
        if (access(hold, F_OK) == 0) {
            pause_ns(HOLD_NS);
            continue;
        }
        chance = chance * 1664525u + 1013904223u;
        unsigned burst = (chance >> 16) % BURST_MAX + 1;
        for (unsigned i = 0; i < burst && !ended; i++) {
            uint64_t n = record->done + 1;
            chance = chance * 1664525u + 1013904223u;
            int head = sprintf(line, "{\"timestamp\":%llu,\"delay\":[%u],\"doppler\":[%llu],\"snr\":[1],\"pad\":\"",
                               (unsigned long long)(FIRST_MS + run * RUN_MS + n), run, (unsigned long long)n);
            /* The cube makes most paddings short. */
            double part = (chance >> 8) / 16777216.0;
            unsigned pad = (unsigned)(part * part * part * pad_max);
            memset(line + head, 'x', pad);
            memcpy(line + head + pad, "\"}\n", 3);
            record->begun = n;
            if (write_all(line, (size_t)head + pad + 3) != 0) return 0;
            record->done = n;
        }
        pause_ns((long)(1e9 * burst / (double)rate));
    }
    return 0;
}
