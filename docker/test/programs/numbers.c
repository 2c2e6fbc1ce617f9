/*
 * numbers FILE PAUSE_US [PAD]
 *
 * A native sensor: prints a frame with its number in `delay` every PAUSE_US, with PAD more detections to make it longer. On
 * SIGTERM it completes the current frame, writes the last number to FILE and exits.
 */
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static volatile sig_atomic_t is_over;

static void end(int signal) {
  (void)signal;
  is_over = 1;
}

static void list(const char *name, const char *first, int pad) {
  printf(",\"%s\":[%s", name, first);
  for (int i = 0; i < pad; i++) printf(",%d", i);
  printf("]");
}

int main(int argc, char **argv) {
  if (argc < 3) return 64;
  const long pause_us = atol(argv[2]);
  const int pad = argc > 3 ? atoi(argv[3]) : 0;
  const struct timespec pause = {pause_us / 1000000, pause_us % 1000000 * 1000};
  const struct sigaction action = {.sa_handler = end};
  sigaction(SIGTERM, &action, NULL);
  long number = 0;
  while (!is_over) {
    char first[32];
    snprintf(first, sizeof first, "%ld", ++number);
    printf("{\"timestamp\":%ld", 1783500000000 + number);
    list("delay", first, pad);
    list("doppler", "0", pad);
    list("snr", "1", pad);
    printf("}\n");
    /* Without a pause, let stdio choose the size of writes. */
    if (pause_us == 0) continue;
    while (fflush(stdout) != 0) clearerr(stdout);
    nanosleep(&pause, NULL);
  }
  while (fflush(stdout) != 0) clearerr(stdout);
  FILE *file = fopen(argv[1], "w");
  if (!file) return 1;
  fprintf(file, "%ld\n", number);
  return fclose(file) != 0;
}
