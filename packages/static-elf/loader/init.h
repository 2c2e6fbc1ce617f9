/*
 * What PID 1 of a container has to do, done here, before the program and in a process of its own: the first process stays
 * in this file as init, about as small as a process can be, and the program goes on as its child. So orphans are reaped at
 * once, whatever the program is busy with; a supervisor in the program can't have an exit of its children stolen, because
 * they are not ours; and a signal that the program does not handle ends it, which the kernel spares PID 1.
 *
 * Signals go on to the program, whose exit is ours: its code, or 128 + n. Images ask to be stopped by other signals than
 * TERM too (STOPSIGNAL of nginx, httpd, haproxy, systemd images); those that mean nothing to a program without a terminal
 * arrive there as TERM, and 128 + n is that of the signal that was sent.
 *
 * Of what it was started with, init keeps the standard descriptors, for `>/proc/1/fd/1` of scripts, and closes the others:
 * who waits for their end would wait for ours. docs/static-elf.md says what this leaves open.
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
#define SIGRTMIN_3 37 /* as glibc and musl count: systemd's SIGRTMIN+3 */
#define SIG_SETMASK 2
#define SIGSET_BYTES 8
#define WNOHANG 1
#define TIOCGPGRP 0x540F
#define TIOCSPGRP 0x5410
#define PR_SET_NAME 15
#define FD_COUNT_MAX 65536 /* closed one by one where the kernel can't close a range (before 5.9) */

/* The first standard descriptor that is our controlling terminal, or -1. */
static int terminal(void) {
  int group;
  for (int fd = 0; fd < FD_MIN; fd++)
    if (syscall3(SYS_ioctl, fd, TIOCGPGRP, (long)&group) == 0) return fd;
  return -1;
}

static void close_others(void) {
  u64 limit[2] = {FD_COUNT_MAX, 0};
  if (!failed(syscall3(SYS_close_range, FD_MIN, ~0U, 0))) return;
  syscall4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)limit);
  for (long fd = FD_MIN; fd < (long)limit[0] && fd < FD_COUNT_MAX; fd++) syscall1(SYS_close, fd);
}

static int asks_to_stop(long signal, int has_terminal) {
  if (signal == SIGWINCH) return !has_terminal;
  return signal == SIGUSR1 || signal == SIGPWR || signal == SIGRTMIN_3;
}

/* Takes every child that has ended; the status of `program` goes to *status, and 1 comes back, once it is among them. */
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

__attribute__((noreturn)) static void be_init(long program, u64 all_signals) {
  int has_terminal = terminal() >= 0, status = 0;
  long translated = 0;
  close_others();
  syscall2(SYS_prctl, PR_SET_NAME, (long)"fleet-init");
  while (!reap(program, &status)) {
    long signal = syscall4(SYS_rt_sigtimedwait, (long)&all_signals, 0, 0, SIGSET_BYTES);
    if (signal <= 0 || signal == SIGCHLD) continue;
    if (asks_to_stop(signal, has_terminal)) {
      translated = signal;
      signal = SIGTERM;
    }
    syscall2(SYS_kill, program, signal);
  }
  int signal = status & 0x7f, code = signal ? 128 + signal : status >> 8 & 0xff;
  end(translated && code == 128 + SIGTERM ? 128 + (int)translated : code);
}

/* Returns in the process that is to be the program: this one, unless it is PID 1. */
static void stay_as_init(void) {
  if (syscall1(SYS_getpid, 0) != 1) return;
  u64 all = ~0UL, before = 0;
  /* Ignored, as some parents leave it, no end of a child would be told to us, nor to the program. */
  u64 action[4] = {SIG_DFL, 0, 0, 0};
  syscall4(SYS_rt_sigaction, SIGCHLD, (long)action, 0, SIGSET_BYTES);
  syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, SIGSET_BYTES);
  long program = syscall6(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);
  if (failed(program)) say("static-elf", "can't fork, so orphans will not be reaped", "", program);
  if (program > 0) be_init(program, all);
  if (program == 0) {
    /* A group of its own, in the foreground where there is a terminal: a Ctrl-C is for the program alone, and comes once. */
    int group = (int)syscall1(SYS_getpid, 0);
    syscall2(SYS_setpgid, 0, 0);
    syscall3(SYS_ioctl, terminal(), TIOCSPGRP, (long)&group);
  }
  syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, SIGSET_BYTES);
}

#endif
