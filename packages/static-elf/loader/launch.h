/*
 * The launcher: called by the name LAUNCH, the file sets resource limits and the user, and then executes the given program,
 * without loading ld.so. It replaces a shell or setpriv(1) in images that have neither. packages/supervisor/src/launch.ts
 * builds its arguments: pairs of a name and a number, then "--", then argv.
 */
#ifndef LAUNCH_H
#define LAUNCH_H

#include "base.h"
#include "elf.h"

#define LAUNCH "fleet-launch"
#define EXIT_MAY_NOT_RUN 126
#define PR_SET_NO_NEW_PRIVS 38
#define PR_CAP_AMBIENT 47
#define PR_CAP_AMBIENT_CLEAR_ALL 4

static const struct { char name[8]; int resource; } limits[] = {
    {"cpu", 0}, {"fsize", 1}, {"core", 4}, {"nproc", 6}, {"nofile", 7}, {"as", 9}};

__attribute__((noreturn)) static void fail(const char *message, const char *name, long error) {
  print_error(LAUNCH, message, name, error);
  exit_process(error == -ENOENT ? EXIT_CANNOT_START : EXIT_MAY_NOT_RUN);
}

static u64 number(const char *text) {
  u64 n = 0;
  for (const char *at = text; *at; at++) {
    if (*at < '0' || *at > '9' || n > (~0UL - 9) / 10) fail("not a number: ", text, 0);
    n = n * 10 + (u64)(*at - '0');
  }
  return n;
}

static void set_limit(const char *name, u64 value) {
  for (u64 i = 0; i < sizeof limits / sizeof *limits; i++) {
    if (!equal(name, limits[i].name)) continue;
    u64 soft_and_hard[2] = {value, value};
    long result = syscall4(SYS_prlimit64, 0, limits[i].resource, (long)soft_and_hard, 0);
    if (failed(result)) fail("can't set the limit ", name, result);
    return;
  }
  fail("unknown setting: ", name, 0);
}

/*
 * Also drops supplementary groups and ambient capabilities, which belong to the launcher. PR_SET_NO_NEW_PRIVS makes this
 * irrevocable, even through set-user-ID programs: a process that runs as another user for isolation must not return through
 * sudo.
 */
static void set_owner(long uid, long gid) {
  syscall2(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
  long result = syscall2(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
  if (!failed(result)) result = syscall2(SYS_setgroups, 0, 0);
  if (!failed(result)) result = syscall3(SYS_setresgid, gid, gid, gid);
  if (!failed(result)) result = syscall3(SYS_setresuid, uid, uid, uid);
  if (failed(result)) fail("can't change to another user", "", result);
}

/* Sets which process the kernel kills first when memory runs out. Raising the score needs no privilege; a failure is ignored. */
static void set_oom_score(const char *score) {
  long fd = syscall4(SYS_openat, AT_FDCWD, (long)"/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC, 0);
  if (!failed(fd)) syscall3(SYS_write, fd, (long)score, (long)length(score));
}

__attribute__((noreturn)) static void launch(char **args, char **envp) {
  u64 uid = 0, gid = 0;
  int owner = 0;
  for (; args[0] && !equal(args[0], "--"); args += 2) {
    if (!args[1]) fail("no value for ", args[0], 0);
    u64 value = number(args[1]);
    if (equal(args[0], "oom")) set_oom_score(args[1]);
    else if (equal(args[0], "uid")) uid = value, owner |= 1;
    else if (equal(args[0], "gid")) gid = value, owner |= 2;
    else set_limit(args[0], value);
  }
  if (!args[0] || !args[1]) fail("no program to run", "", 0);
  if (owner && owner != 3) fail("uid and gid must be set together", "", 0);
  if (owner) set_owner((long)uid, (long)gid);
  fail("can't run ", args[1], syscall3(SYS_execve, (long)args[1], (long)(args + 1), (long)envp));
}

#endif
