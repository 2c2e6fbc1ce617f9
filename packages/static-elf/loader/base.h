/* What every part of the stub needs: integers, memory, text, and a way to end with a word. No libc is there to give them. */
#ifndef BASE_H
#define BASE_H

#include "arch.h"

typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned char u8;

#define EXIT_CANNOT_START 127
/* The first descriptor that is none of the standard three. */
#define FD_MIN 3

#define EPERM 1
#define ENOENT 2
#define EINTR 4
#define EINVAL 22

void *memcpy(void *to, const void *from, u64 n) {
  u8 *t = to;
  const u8 *f = from;
  while (n--) *t++ = *f++;
  return to;
}

void *memset(void *to, int c, u64 n) {
  u8 *t = to;
  while (n--) *t++ = (u8)c;
  return to;
}

static u64 length(const char *s) {
  u64 n = 0;
  while (s[n]) n++;
  return n;
}

static int starts(const char *s, const char *prefix) {
  while (*prefix)
    if (*s++ != *prefix++) return 0;
  return 1;
}

static int same(const char *a, const char *b) { return starts(a, b) && starts(b, a); }

/* Appends s, and digits for n when n is not negative; the buffer is large enough for every call. */
static char *put(char *at, const char *s, long n) {
  while (*s) *at++ = *s++;
  if (n >= 0) {
    char digits[20];
    int count = 0;
    do digits[count++] = (char)('0' + n % 10);
    while (n /= 10);
    while (count) *at++ = digits[--count];
  }
  *at = 0;
  return at;
}

/* One line on stderr. `what` and `name` together are cut to what a line holds; error is a negated errno, or 0 when there is none. */
static void say(const char *who, const char *what, const char *name, long error) {
  char line[512];
  char *at = put(line, who, -1);
  at = put(at, ": ", -1);
  at = put(at, what, -1);
  while (*name && at < line + sizeof line - 40) *at++ = *name++;
  if (error < 0) at = put(at, ": errno ", -error);
  at = put(at, "\n", -1);
  syscall3(SYS_write, 2, (long)line, at - line);
}

__attribute__((noreturn)) static void end(int code) {
  for (;;) syscall1(SYS_exit_group, code);
}

__attribute__((noreturn)) static void die(const char *what, const char *name, long error) {
  say("static-elf", what, name, error);
  end(EXIT_CANNOT_START);
}

static int failed(long result) { return result < 0 && result > -4096; }

#endif
