/* Basics for all parts of the stub, which has no libc: integer types, memory, text, and exiting with an error message. */
#ifndef BASE_H
#define BASE_H

#include "arch.h"

typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned char u8;

#define EXIT_CANNOT_START 127
/* The first descriptor after the three standard ones. */
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

static int starts_with(const char *s, const char *prefix) {
  while (*prefix)
    if (*s++ != *prefix++) return 0;
  return 1;
}

static int equal(const char *a, const char *b) { return starts_with(a, b) && starts_with(b, a); }

/* Appends s, and n in decimal if it is not negative. Callers provide a sufficient buffer. */
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

/* Writes one line to stderr. A long `name` is truncated to the size of the buffer; `error` is a negated errno, or 0 for none. */
static void print_error(const char *program, const char *message, const char *name, long error) {
  char line[512];
  char *at = put(line, program, -1);
  at = put(at, ": ", -1);
  at = put(at, message, -1);
  while (*name && at < line + sizeof line - 40) *at++ = *name++;
  if (error < 0) at = put(at, ": errno ", -error);
  at = put(at, "\n", -1);
  syscall3(SYS_write, 2, (long)line, at - line);
}

__attribute__((noreturn)) static void exit_process(int code) {
  for (;;) syscall1(SYS_exit_group, code);
}

__attribute__((noreturn)) static void die(const char *message, const char *name, long error) {
  print_error("static-elf", message, name, error);
  exit_process(EXIT_CANNOT_START);
}

static int failed(long result) { return result < 0 && result > -4096; }

#endif
