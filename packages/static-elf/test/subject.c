/*
 * subject MODE [ARGUMENT...]: the program that tests run under an init. It is small, starts fast, and is written in C to
 * control which signals it handles. It prints "ready" when its signal handling is set up, and then a line for each event.
 *
 *   exit CODE         exits immediately                  die SIGNAL     kills itself with a signal
 *   wait              waits with default signal actions  hear LAST      prints each signal's number; exits with 0 after LAST
 *   ignore SIGNAL...  waits and ignores these signals    group LAST     like hear, with a child in its group, to which it sends LAST
 *   orphans COUNT     creates orphans, and prints the number of processes when all of them are gone
 *   children COUNT    ends children together with orphans, and prints the number of correct exit codes of children
 *   daemon            starts a daemon that ignores all signals; exits with 3 at TERM and leaves it behind
 *   time COUNT        prints the median and maximum time in microseconds from the exit of an orphan until its pid is free
 *   run COMMAND...    runs a command as a child, and exits with its code
 *   old COMMAND...    executes a command as on a kernel without close_range(2)
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT_MAX 2000
#define FREE_TRIES 500000 /* of 10 us: 5 s */

static void ready(void) {
  puts("ready");
  fflush(stdout);
}

static void hear(const char *who, int last) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  pid_t child = *who ? fork() : -1;
  if (child == 0) who = "child ";
  else ready();
  for (;;) {
    int signal = sigwaitinfo(&all, NULL);
    if (signal < 0 || signal == SIGCHLD) continue;
    printf("%s%d\n", who, signal);
    fflush(stdout);
    if (signal != last) continue;
    if (child > 0 && kill(child, last) == 0) waitpid(child, NULL, 0);
    _exit(0);
  }
}

static void nap(void) {
  const struct timespec us = {.tv_nsec = 10 * 1000};
  nanosleep(&us, NULL);
}

/* Creates a grandchild that exits after its parent, or before it if `early`. The exit closes its descriptor `out`. */
static pid_t orphan(int early, int out) {
  int ids[2];
  if (pipe(ids) != 0) exit(1);
  pid_t child = fork();
  if (child < 0) exit(1);
  if (child == 0) {
    pid_t parent = getpid(), grandchild = fork();
    if (grandchild == 0) {
      setsid();
      while (!early && getppid() == parent) nap();
      _exit(0);
    }
    if (early) waitid(P_PID, (id_t)grandchild, &(siginfo_t){0}, WEXITED | WNOWAIT);
    _exit(write(ids[1], &grandchild, sizeof grandchild) == sizeof grandchild ? 0 : 1);
  }
  pid_t grandchild;
  close(ids[1]);
  if (out >= 0) close(out);
  if (read(ids[0], &grandchild, sizeof grandchild) != sizeof grandchild) exit(1);
  close(ids[0]);
  waitpid(child, NULL, 0);
  return grandchild;
}

static int is_free(pid_t pid) { return kill(pid, 0) != 0 && errno == ESRCH; }

static int becomes_free(pid_t pid) {
  for (int i = 0; i < FREE_TRIES; i++, nap())
    if (is_free(pid)) return 1;
  return 0;
}

static int count_processes(void) {
  int count = 0;
  DIR *proc = opendir("/proc");
  for (struct dirent *entry; proc && (entry = readdir(proc));)
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') count++;
  if (proc) closedir(proc);
  return count;
}

static void orphans(int count) {
  static pid_t pids[COUNT_MAX];
  for (int i = 0; i < count; i++) pids[i] = orphan(i % 2, -1);
  for (int i = 0; i < count; i++)
    if (!becomes_free(pids[i])) printf("%d is left\n", pids[i]);
  printf("%d processes\n", count_processes());
}

static void children(int count) {
  static pid_t pids[COUNT_MAX];
  int right = 0;
  for (int i = 0; i < count; i++) {
    pids[i] = fork();
    if (pids[i] == 0) _exit(i % 251);
    orphan(i % 2, -1);
  }
  for (int i = 0; i < count; i++) {
    int status;
    if (waitpid(pids[i], &status, 0) == pids[i] && WIFEXITED(status) && WEXITSTATUS(status) == i % 251) right++;
  }
  printf("%d right\n", right);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* The pipe is closed when the orphan exits, because descriptors are closed before a process becomes a zombie. */
static void take_time(int count) {
  static double took[COUNT_MAX];
  for (int i = 0; i < count; i++) {
    int end[2];
    char none;
    if (pipe(end) != 0) exit(1);
    pid_t pid = orphan(0, end[1]);
    if (read(end[0], &none, 1) != 0) exit(1);
    double from = now_us();
    while (!is_free(pid));
    took[i] = now_us() - from;
    close(end[0]);
  }
  qsort(took, (size_t)count, sizeof *took, compare);
  printf("median %.0f max %.0f\n", took[count / 2], took[count - 1]);
}

static void leave(int signal) {
  (void)signal;
  _exit(3);
}

static void have_daemon(void) {
  int done[2];
  if (pipe(done) != 0) exit(1);
  if (fork() == 0) {
    setsid();
    for (int i = 1; i <= SIGRTMAX; i++) signal(i, SIG_IGN);
    close(done[0]);
    close(done[1]);
    for (;;) pause();
  }
  char none;
  close(done[1]);
  if (read(done[0], &none, 1) != 0) exit(1);
  signal(SIGTERM, leave);
}

static int run(char **argv) {
  int status;
  pid_t child = fork();
  if (child == 0) {
    execvp(argv[0], argv);
    _exit(127);
  }
  while (waitpid(child, &status, 0) < 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int become_on_old_kernel(char **argv) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 1;
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 1;
  execvp(argv[0], argv);
  return 127;
}

int main(int argc, char **argv) {
  if (argc < 2) return 64;
  const char *mode = argv[1];
  int n = argc > 2 ? atoi(argv[2]) : 0;
  if (n > COUNT_MAX) return 64;
  if (strcmp(mode, "exit") == 0) return n;
  if (strcmp(mode, "hear") == 0) hear("", n);
  if (strcmp(mode, "group") == 0) hear("group ", n);
  if (strcmp(mode, "orphans") == 0) return orphans(n), 0;
  if (strcmp(mode, "children") == 0) return children(n), 0;
  if (strcmp(mode, "daemon") == 0) have_daemon();
  if (strcmp(mode, "time") == 0) return take_time(n), 0;
  if (strcmp(mode, "run") == 0) return run(argv + 2);
  if (strcmp(mode, "old") == 0) return become_on_old_kernel(argv + 2);
  if (strcmp(mode, "die") == 0) raise(n);
  for (int i = 2; i < argc; i++) signal(atoi(argv[i]), SIG_IGN);
  ready();
  for (;;) pause();
}
