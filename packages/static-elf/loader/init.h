/*
 * The init of a container. As PID 1, the first process stays here as init, with minimal memory, and the program continues as
 * its child. Therefore orphans are reaped immediately, even while the program is busy; init never reaps the program's own
 * children, so a supervisor in the program cannot miss an exit; and a signal that the program does not handle ends it, which
 * would not happen to PID 1.
 *
 * Init forwards signals to the program and exits with its exit code, or with 128 + n after a signal. Some images are stopped by
 * other signals than TERM (STOPSIGNAL of nginx, httpd, haproxy and systemd images). Those that have no meaning without a
 * terminal are forwarded as TERM, and n is then the number of the original signal.
 *
 * Init keeps the standard descriptors, for scripts that write to /proc/1/fd/1, and closes all others, so that it does not keep
 * pipes open. docs/static-elf.md lists the limitations.
 */
#ifndef INIT_H
#define INIT_H

#include "base.h"
#include "elf.h"

#define SIGUSR1 10
#define SIGTERM 15
#define SIGCHLD 17
#define SIG_DFL 0
#define SIGWINCH 28
#define SIGPWR 30
#define SIGRTMIN_3 37 /* SIGRTMIN+3 of systemd, as numbered by glibc and musl */
#define SIG_SETMASK 2
#define SIGSET_BYTES 8
#define WNOHANG 1
#define TIOCGPGRP 0x540F
#define TIOCSPGRP 0x5410
#define PR_SET_NAME 15
#define FD_COUNT_MAX 65536 /* descriptors closed one by one on kernels without close_range (before 5.9) */

/* The first standard descriptor that is the controlling terminal, or -1. */
static int terminal_fd(void) {
  int group;
  for (int fd = 0; fd < FD_MIN; fd++)
    if (syscall3(SYS_ioctl, fd, TIOCGPGRP, (long)&group) == 0) return fd;
  return -1;
}

static void close_nonstandard(void) {
  u64 limit[2] = {FD_COUNT_MAX, 0};
  if (!failed(syscall3(SYS_close_range, FD_MIN, ~0U, 0))) return;
  syscall4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)limit);
  for (long fd = FD_MIN; fd < (long)limit[0] && fd < FD_COUNT_MAX; fd++) syscall1(SYS_close, fd);
}

static int is_stop_signal(long signal, int has_terminal) {
  if (signal == SIGWINCH) return !has_terminal;
  return signal == SIGUSR1 || signal == SIGPWR || signal == SIGRTMIN_3;
}

/* Reaps all children that have exited. If `program` is among them, stores its status in *status and returns 1. */
static int reap(long program, int *status) {
  int found = 0;
  for (;;) {
    int one = 0;
    long pid = syscall4(SYS_wait4, -1, (long)&one, WNOHANG, 0);
    if (pid == -EINTR) continue;
    if (pid <= 0) return found;
    if (pid == program) *status = one, found = 1;
  }
}

__attribute__((noreturn)) static void run_init(long program, u64 all_signals) {
  int has_terminal = terminal_fd() >= 0, status = 0;
  long translated = 0;
  close_nonstandard();
  syscall2(SYS_prctl, PR_SET_NAME, (long)"fleet-init");
  while (!reap(program, &status)) {
    long signal = syscall4(SYS_rt_sigtimedwait, (long)&all_signals, 0, 0, SIGSET_BYTES);
    if (signal <= 0 || signal == SIGCHLD) continue;
    if (is_stop_signal(signal, has_terminal)) {
      translated = signal;
      signal = SIGTERM;
    }
    syscall2(SYS_kill, program, signal);
  }
  int signal = status & 0x7f, code = signal ? 128 + signal : status >> 8 & 0xff;
  exit_process(translated && code == 128 + SIGTERM ? 128 + (int)translated : code);
}

/* Returns in the process that becomes the program: a child if this process is PID 1, otherwise this process. */
static void stay_as_init(void) {
  if (syscall1(SYS_getpid, 0) != 1) return;
  u64 all = ~0UL, before = 0;
  /* Some parents leave SIGCHLD ignored. Then neither init nor the program could wait for children. */
  u64 action[4] = {SIG_DFL, 0, 0, 0};
  syscall4(SYS_rt_sigaction, SIGCHLD, (long)action, 0, SIGSET_BYTES);
  syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, SIGSET_BYTES);
  long program = syscall6(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);
  if (failed(program)) print_error("static-elf", "can't fork, so orphans will not be reaped", "", program);
  if (program > 0) run_init(program, all);
  if (program == 0) {
    /* The program gets its own group, in the foreground of the terminal if there is one, so that only it receives Ctrl-C, once. */
    int group = (int)syscall1(SYS_getpid, 0);
    syscall2(SYS_setpgid, 0, 0);
    syscall3(SYS_ioctl, terminal_fd(), TIOCSPGRP, (long)&group);
  }
  syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, SIGSET_BYTES);
}

#endif
