/*
 * snoop DIR FILE...: a sensor that tries everything a curious one could, and writes the results to DIR/NAME (its FLEET_SENSOR).
 *
 * It waits for DIR/go. Then it writes a line "WHOSE WHAT" for everything it could reach of another process (its agent, PID 1 and
 * the process called "victim"), "file PATH" for each FILE it could read, "own ENTRY" for each variable of its environment,
 * escaped, "limit N" for the number of files it may open, "fd N" for each open descriptor, and finally "end".
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static FILE *out;

static void nap(void) {
  const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
  nanosleep(&pause, NULL);
}

static int reads(const char *path) {
  char byte;
  int fd = open(path, O_RDONLY | O_CLOEXEC), got = fd >= 0 && read(fd, &byte, 1) == 1;
  if (fd >= 0) close(fd);
  return got;
}

static char *of(pid_t pid, const char *name) {
  static char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  return path;
}

/* Any address that is mapped: the first of its maps, or where a linked file's stub lies. */
static unsigned long address(pid_t pid) {
  unsigned long at = 0x100000;
  FILE *maps = fopen(of(pid, "maps"), "re");
  if (maps && fscanf(maps, "%lx", &at) != 1) at = 0x100000;
  if (maps) fclose(maps);
  return at;
}

static int reads_memory_file(pid_t pid) {
  char byte;
  int fd = open(of(pid, "mem"), O_RDONLY | O_CLOEXEC), got = fd >= 0 && pread(fd, &byte, 1, (off_t)address(pid)) == 1;
  if (fd >= 0) close(fd);
  return got;
}

static int reads_memory(pid_t pid) {
  char byte;
  struct iovec here = {&byte, 1}, there = {(void *)address(pid), 1};
  return process_vm_readv(pid, &here, 1, &there, 1, 0) == 1;
}

static int follows(pid_t pid, const char *name) {
  char target[PATH_MAX];
  return readlink(of(pid, name), target, sizeof target) > 0;
}

static int attaches(pid_t pid) {
  if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0) return 0;
  ptrace(PTRACE_INTERRUPT, pid, 0, 0);
  waitpid(pid, NULL, __WALL);
  ptrace(PTRACE_DETACH, pid, 0, 0);
  return 1;
}

static int takes_descriptor(pid_t pid) {
  long process = syscall(SYS_pidfd_open, pid, 0);
  long taken = process < 0 ? -1 : syscall(SYS_pidfd_getfd, process, 0, 0);
  if (taken >= 0) close((int)taken);
  if (process >= 0) close((int)process);
  return taken >= 0;
}

static void snoop(const char *whose, pid_t pid) {
  struct rlimit limit;
  cpu_set_t cpus;
  const struct { const char *what; int got; } results[] = {
      {"cmdline", reads(of(pid, "cmdline"))},
      {"environ", reads(of(pid, "environ"))},
      {"auxv", reads(of(pid, "auxv"))},
      {"maps", reads(of(pid, "maps"))},
      {"mem", reads_memory_file(pid)},
      {"process_vm_readv", reads_memory(pid)},
      {"fd", follows(pid, "fd/0")},
      {"pidfd_getfd", takes_descriptor(pid)},
      {"exe", follows(pid, "exe")},
      {"root", follows(pid, "root")},
      {"ptrace", attaches(pid)},
      {"kill", kill(pid, 0) == 0},
      {"prlimit", prlimit(pid, RLIMIT_NOFILE, NULL, &limit) == 0},
      {"affinity", sched_getaffinity(pid, sizeof cpus, &cpus) == 0 && sched_setaffinity(pid, sizeof cpus, &cpus) == 0},
  };
  for (size_t i = 0; i < sizeof results / sizeof *results; i++)
    if (results[i].got) fprintf(out, "%s %s\n", whose, results[i].what);
}

static pid_t victim(void) {
  for (;;) {
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && (entry = readdir(proc));) {
      char name[16] = "";
      pid_t pid = atoi(entry->d_name);
      FILE *comm = pid > 0 ? fopen(of(pid, "comm"), "re") : NULL;
      if (comm && fscanf(comm, "%15s", name) != 1) name[0] = 0;
      if (comm) fclose(comm);
      if (strcmp(name, "victim") != 0) continue;
      closedir(proc);
      return pid;
    }
    if (proc) closedir(proc);
    nap();
  }
}

static void print_own(void) {
  for (char **entry = environ; *entry; entry++) {
    fputs("own ", out);
    for (const char *c = *entry; *c; c++) fprintf(out, *c == '\n' ? "\\n" : "%c", *c);
    fputc('\n', out);
  }
  struct rlimit limit = {0};
  getrlimit(RLIMIT_NOFILE, &limit);
  fprintf(out, "limit %lu\n", (unsigned long)limit.rlim_max);
  for (int fd = 0; fd < 1024; fd++)
    if (fd != fileno(out) && fcntl(fd, F_GETFD) >= 0) fprintf(out, "fd %d\n", fd);
}

int main(int argc, char **argv) {
  char path[PATH_MAX];
  const char *name = getenv("FLEET_SENSOR");
  pid_t agent = getppid();
  if (argc < 2 || !name) return 64;
  snprintf(path, sizeof path, "%s/go", argv[1]);
  while (access(path, F_OK) != 0) nap();
  snprintf(path, sizeof path, "%s/%s", argv[1], name);
  if (!(out = fopen(path, "we"))) return 1;
  snoop("agent", agent);
  snoop("init", 1);
  snoop("victim", victim());
  for (int i = 2; i < argc; i++)
    if (reads(argv[i])) fprintf(out, "file %s\n", argv[i]);
  print_own();
  fputs("end\n", out);
  fclose(out);
  for (;;) pause();
}
