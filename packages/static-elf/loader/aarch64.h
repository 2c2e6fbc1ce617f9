/* aarch64: entry and system calls. (Procedure Call Standard for the Arm 64-bit Architecture; asm-generic/unistd.h) */
#define SYS_fcntl 25
#define SYS_ioctl 29
#define SYS_fallocate 47
#define SYS_openat 56
#define SYS_close 57
#define SYS_write 64
#define SYS_pread64 67
#define SYS_exit_group 94
#define SYS_kill 129
#define SYS_rt_sigaction 134
#define SYS_rt_sigprocmask 135
#define SYS_rt_sigtimedwait 137
#define SYS_setresuid 147
#define SYS_setresgid 149
#define SYS_setpgid 154
#define SYS_setgroups 159
#define SYS_prctl 167
#define SYS_getpid 172
#define SYS_munmap 215
#define SYS_clone 220
#define SYS_execve 221
#define SYS_mmap 222
#define SYS_wait4 260
#define SYS_prlimit64 261
#define SYS_memfd_create 279
#define SYS_close_range 436

/* Passes the kernel's stack pointer to ld.so, with x0 = 0: no function to register with atexit. */
__asm__(".globl _start\n"
        "_start:\n"
        "  mov x19, sp\n"
        "  mov x0, sp\n"
        "  mov x29, xzr\n"
        "  mov x30, xzr\n"
        "  bl loader_main\n"
        "  mov x16, x0\n"
        "  mov sp, x19\n"
        "  mov x0, xzr\n"
        "  br x16\n");

static inline long syscall6(long n, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = n;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
}
