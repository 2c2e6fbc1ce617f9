/* The only part of the stub that depends on the processor. */
#if defined(__x86_64__)
#include "x86_64.h"
#elif defined(__aarch64__)
#include "aarch64.h"
#else
#error "static-elf supports x86_64 and aarch64"
#endif

#define syscall1(n, a) syscall6(n, a, 0, 0, 0, 0, 0)
#define syscall2(n, a, b) syscall6(n, a, b, 0, 0, 0, 0)
#define syscall3(n, a, b, c) syscall6(n, a, b, c, 0, 0, 0)
#define syscall4(n, a, b, c, d) syscall6(n, a, b, c, d, 0, 0)
