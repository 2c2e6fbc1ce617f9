/*
 * Started under the name LAUNCH, this file is no program of its own: it gives up what it is told to give up and becomes the
 * program that is named, without loading anything. That takes what a shell or setpriv(1) would do in an image that has
 * neither. packages/supervisor/src/launch.ts writes its arguments: pairs of a name and a number, then "--", then argv.
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

__attribute__((noreturn)) static void refuse(const char *what, const char *name, long error) {
  say(LAUNCH, what, name, error);
  end(error == -ENOENT ? EXIT_CANNOT_START : EXIT_MAY_NOT_RUN);
}

static u64 number(const char *text) {
  u64 n = 0;
  for (const char *at = text; *at; at++) {
    if (*at < '0' || *at > '9' || n > (~0UL - 9) / 10) refuse("not a number: ", text, 0);
    n = n * 10 + (u64)(*at - '0');
  }
  return n;
}

static void set_limit(const char *name, u64 value) {
  for (u64 i = 0; i < sizeof limits / sizeof *limits; i++) {
    if (!same(name, limits[i].name)) continue;
    u64 soft_and_hard[2] = {value, value};
    long result = syscall4(SYS_prlimit64, 0, limits[i].resource, (long)soft_and_hard, 0);
    if (failed(result)) refuse("can't set the limit ", name, result);
    return;
  }
  refuse("no such setting: ", name, 0);
}

/*
 * Supplementary groups and ambient capabilities go too: they would be the launcher's. Nothing of this can be taken back, nor
 * can a set-user-ID file: who was made another user to keep away from ours should not come back through sudo.
 */
static void set_owner(long uid, long gid) {
  syscall2(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
  long result = syscall2(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
  if (!failed(result)) result = syscall2(SYS_setgroups, 0, 0);
  if (!failed(result)) result = syscall3(SYS_setresgid, gid, gid, gid);
  if (!failed(result)) result = syscall3(SYS_setresuid, uid, uid, uid);
  if (failed(result)) refuse("may not become another user", "", result);
}

/* Who is to be taken first when memory runs out. Raising it needs no right; where it can't be done, things are as they were. */
static void set_oom_score(const char *score) {
  long fd = syscall4(SYS_openat, AT_FDCWD, (long)"/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC, 0);
  if (!failed(fd)) syscall3(SYS_write, fd, (long)score, (long)length(score));
}

__attribute__((noreturn)) static void launch(char **words, char **envp) {
  u64 uid = 0, gid = 0;
  int owner = 0;
  for (; words[0] && !same(words[0], "--"); words += 2) {
    if (!words[1]) refuse("no value for ", words[0], 0);
    u64 value = number(words[1]);
    if (same(words[0], "oom")) set_oom_score(words[1]);
    else if (same(words[0], "uid")) uid = value, owner |= 1;
    else if (same(words[0], "gid")) gid = value, owner |= 2;
    else set_limit(words[0], value);
  }
  if (!words[0] || !words[1]) refuse("no program to run", "", 0);
  if (owner && owner != 3) refuse("uid and gid go together", "", 0);
  if (owner) set_owner((long)uid, (long)gid);
  refuse("can't run ", words[1], syscall3(SYS_execve, (long)words[1], (long)(words + 1), (long)envp));
}

#endif
