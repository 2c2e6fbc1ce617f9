/*
 * A dummy tracker for tests that run many of them: records every byte of its input.
 *
 *   recorder DIR PORT [BYTES_PER_S]
 *
 * Records each client's input in its own file DIR/TIME.LIFE.PID, and appends ".end" to the name at the end of the input. After
 * SIGTERM it reads the remaining input, as a stopping coordinator expects; a client that never ends needs SIGKILL. Prints an
 * event now and then. BYTES_PER_S limits the reading rate. In the environment, RECORDER_LIFE is LIFE in the file names, and
 * RECORDER_BUFFER the approximate number of unread bytes that the system keeps.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EVENT_EVERY 64
#define SLOWNESS 10

static volatile sig_atomic_t ended;
static char path[4096];

static void on_term(int signal)
{
    (void)signal;
    ended = 1;
}

/* Names sort in the order of creation. */
static int new_file(const char *dir, const char *life)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(path, sizeof path, "%.3000s/%010lld%09ld.%.20s.%d", dir, (long long)now.tv_sec, now.tv_nsec, life,
             (int)getpid());
    return open(path, O_CREAT | O_EXCL | O_WRONLY | O_APPEND, 0600);
}

/* Reads until the client has closed and everything it sent is read. */
static void record(int client, int file, long rate)
{
    static char bytes[65536];
    size_t want = rate > 0 ? (size_t)(rate / SLOWNESS + 1) : sizeof bytes;
    unsigned long reads = 0;
    for (;;) {
        ssize_t n = read(client, bytes, want);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        for (ssize_t at = 0; at < n;) {
            ssize_t written = write(file, bytes + at, (size_t)(n - at));
            if (written < 0 && errno != EINTR) _exit(74);
            if (written > 0) at += written;
        }
        if (reads++ % EVENT_EVERY == 0) {
            static const char event[] = "{\"track_id\":\"t\",\"timestamp\":1,\"length\":1,\"detections\":[]}\n";
            /* A killed coordinator does not read it. */
            if (write(STDOUT_FILENO, event, sizeof event - 1) < 0) continue;
        }
        if (rate > 0) {
            struct timespec pause = {0, 1000000000L / SLOWNESS};
            nanosleep(&pause, NULL);
        }
    }
    char ended_path[4200];
    snprintf(ended_path, sizeof ended_path, "%s.end", path);
    rename(path, ended_path);
}

int main(int argc, char **argv)
{
    if (argc < 3) return 64;
    long rate = argc > 3 ? atol(argv[3]) : 0;
    const char *life = getenv("RECORDER_LIFE");
    signal(SIGPIPE, SIG_IGN);
    /* SIGTERM is delivered only while ppoll waits, so that none is missed between the check and the wait. */
    sigset_t term, during;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &during);
    struct sigaction action = {.sa_handler = on_term};
    sigaction(SIGTERM, &action, NULL);
    mkdir(argv[1], 0700);

    int on = 1, server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[2]))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const char *buffer = getenv("RECORDER_BUFFER");
    int bytes = buffer == NULL ? 0 : atoi(buffer);
    /* The sender's buffer depends on the segment size. */
    int segment = 256;
    if (bytes > 0) {
        setsockopt(server, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
        setsockopt(server, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    }
    if (bind(server, (struct sockaddr *)&at, sizeof at) != 0 || listen(server, 8) != 0) {
        perror("the port");
        return 1;
    }
    for (;;) {
        struct pollfd wait = {.fd = server, .events = POLLIN};
        struct timespec none = {0, 0};
        int ready = ppoll(&wait, 1, ended ? &none : NULL, &during);
        if (ready <= 0 && ended) {
            /* No client is waiting. One may have connected along with the signal, so poll once more. */
            if (ready == 0) return 143;
            continue;
        }
        if (ready <= 0) continue;
        int client = accept4(server, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0) continue;
        int file = new_file(argv[1], life == NULL ? "0" : life);
        if (file < 0) return 74;
        record(client, file, rate);
        close(file);
        close(client);
    }
}
