/*
 * sensor [FILE]
 *
 * A native sensor: prints a numbered frame every 10 ms, forever. With FILE, it first writes its environment to it.
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
