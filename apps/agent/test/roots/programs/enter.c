/*
 * enter ROOT CWD [NAME=VALUE...] -- PROGRAM [ARGUMENT...]
 *
 * Runs a program in another root as nobody: uid and gid 65534, no groups, no capabilities and no way to regain any, with exactly
 * the named environment. It is static and replaced by the exec, so that only the program sees that environment.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define NOBODY 65534
#define EXIT_CANNOT_EXECUTE 126

static void check(int result, const char *what) {
  if (result == 0) return;
  fprintf(stderr, "enter: %s: %s\n", what, strerror(errno));
  exit(EXIT_CANNOT_EXECUTE);
}

int main(int argc, char **argv) {
  int at = 3;
  while (at < argc && strcmp(argv[at], "--") != 0) at++;
  if (at + 1 >= argc) return EXIT_CANNOT_EXECUTE;
  argv[at] = NULL;
  check(chroot(argv[1]), argv[1]);
  check(chdir(argv[2]), argv[2]);
  for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
    check(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0), "dropping a capability");
  check(setgroups(0, NULL), "setgroups");
  check(setresgid(NOBODY, NOBODY, NOBODY), "setresgid");
  check(setresuid(NOBODY, NOBODY, NOBODY), "setresuid");
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
  execve(argv[at + 1], &argv[at + 1], &argv[3]);
  check(-1, argv[at + 1]);
}
