/*
 * sensor [FILE]
 *
 * A native sensor: a numbered frame every 10 ms, without end. With FILE it first writes there what environment it has.
 */
#include <stdio.h>
#include <time.h>

extern char **environ;

int main(int argc, char **argv) {
  if (argc > 1) {
    FILE *file = fopen(argv[1], "w");
    if (!file) return 1;
    for (char **variable = environ; *variable; variable++) fprintf(file, "%s\n", *variable);
    if (fclose(file)) return 1;
  }
  const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
  for (long i = 1;; i++) {
    printf("{\"timestamp\":%ld,\"delay\":[%ld],\"doppler\":[0],\"snr\":[1]}\n", 1783500000000 + i, i);
    if (fflush(stdout)) return 1;
    nanosleep(&pause, NULL);
  }
}
