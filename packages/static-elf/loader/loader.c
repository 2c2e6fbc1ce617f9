/*
 * The stub that a statically linked Bun executable starts with. The kernel has mapped the program and this stub; the
 * stub maps the ld.so that was appended to the file, shows it the libraries that were appended too, and jumps to it.
 *
 * Freestanding: no libc, no writable data, one RX segment at a fixed address below the program. docs/static-elf.md has
 * pictures. Whatever can't go on says one line on stderr and exits 127.
 */
#include "arch.h"
#include "elf.h"

typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned char u8;

#define LIBRARIES_MAX 8
#define LDSO_PHDRS_MAX 16
#define PHDRS_MAX 32
#define DYNAMIC_MAX 96
#define PAGE_SIZE_MAX 65536
#define FD_MIN 10
#define EXIT_CANNOT_START 127

/* Filled in by link.ts, which finds it by its magic. All offsets are into the file, all addresses virtual. */
struct library {
  u64 offset;
  u64 size;
  char name[32];
};
struct params {
  char magic[16];
  u64 entry;        /* of the program, as it was */
  u64 phdr;         /* where its program headers are mapped */
  u64 phnum;
  u64 dynamic;      /* its dynamic section */
  u64 dynamic_count; /* entries, DT_NULL included */
  u64 strtab;       /* its DT_STRTAB */
  u64 ldso_offset;
  u64 library_count;
  struct library library[LIBRARIES_MAX];
};
__attribute__((section(".params"), used)) static const volatile struct params params = {
    .magic = "fleet-static-elf"};

/* What ld.so is shown in place of the program's own: it writes into some of it. */
struct shown {
  Elf64_Phdr phdr[PHDRS_MAX];
  Elf64_Dyn dynamic[DYNAMIC_MAX];
  char path[LIBRARIES_MAX][32];
  char interp[32];
};

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

/* Appends s, and digits for n when n is not negative; the buffer is large enough for every call below. */
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

/* error is a negated errno, or 0 when there is none to tell. */
__attribute__((noreturn)) static void die(const char *what, const char *name, long error) {
  char line[256];
  char *at = put(line, "static-elf: ", -1);
  at = put(at, what, -1);
  at = put(at, name, -1);
  if (error < 0) at = put(at, ": errno ", -error);
  at = put(at, "\n", -1);
  syscall3(SYS_write, 2, (long)line, at - line);
  for (;;) syscall1(SYS_exit_group, EXIT_CANNOT_START);
}

static int failed(long result) { return result < 0 && result > -4096; }

static int starts(const char *s, const char *prefix) {
  while (*prefix)
    if (*s++ != *prefix++) return 0;
  return 1;
}

/* Whether the name of the variable (up to its '=') ends so. */
static int name_ends(const char *variable, const char *suffix) {
  u64 n = 0, m = length(suffix);
  while (variable[n] && variable[n] != '=') n++;
  if (n <= m) return 0;
  for (u64 i = 0; i < m; i++)
    if (variable[n - m + i] != suffix[i]) return 0;
  return 1;
}

/* The variables by which an image could steer the loader, Bun, or where the program's secrets go. */
static int steers(const char *v) {
  if (starts(v, "LD_") || starts(v, "BUN_") || starts(v, "NODE_")) return 1;
  if (starts(v, "SSL_CERT_") || starts(v, "MIMALLOC_") || starts(v, "JSC_")) return 1;
  if (starts(v, "GLIBC_TUNABLES=") || starts(v, "GCONV_PATH=")) return 1;
  return (v[0] >= 'A' && v[0] <= 'Z' && name_ends(v, "_PROXY")) ||
         (v[0] >= 'a' && v[0] <= 'z' && name_ends(v, "_proxy"));
}

/* Renamed, not removed: the first letter becomes its control character, which the program can turn back. */
static void hide_environment(char **envp) {
  for (; *envp; envp++)
    if (steers(*envp)) **envp &= 0x1f;
}

static u64 *find_aux(u64 *auxv, u64 type) {
  for (; auxv[0] != AT_NULL; auxv += 2)
    if (auxv[0] == type) return &auxv[1];
  die("the kernel gave no auxiliary vector entry that is needed", "", 0);
}

static long map(u64 address, u64 size, int prot, int flags, long fd, u64 offset) {
  return syscall6(SYS_mmap, (long)address, (long)size, prot, flags, fd, (long)offset);
}

static void map_or_die(u64 address, u64 size, int prot, int flags, long fd, u64 offset) {
  long result = map(address, size, prot, flags | MAP_FIXED, fd, offset);
  if (failed(result)) die("can't map ld.so", "", result);
}

static void read_at(long fd, void *to, u64 size, u64 offset) {
  long result = syscall4(SYS_pread64, fd, (long)to, (long)size, (long)offset);
  if (result != (long)size) die("can't read the appended ld.so", "", result);
}

/* Maps one segment of ld.so: its file part straight from our own file, so that its pages are shared, then its zeroes. */
static void map_segment(const Elf64_Phdr *ph, u64 base, long fd, u64 page) {
  int prot = (ph->p_flags & PF_R ? PROT_READ : 0) | (ph->p_flags & PF_W ? PROT_WRITE : 0) |
             (ph->p_flags & PF_X ? PROT_EXEC : 0);
  u64 start = base + ph->p_vaddr;
  u64 first = start & ~(page - 1);
  u64 lead = start - first;
  u64 file_end = start + ph->p_filesz;
  u64 file_pages_end = (file_end + page - 1) & ~(page - 1);
  u64 end = (start + ph->p_memsz + page - 1) & ~(page - 1);
  u64 offset = params.ldso_offset + ph->p_offset - lead;
  if (ph->p_filesz) map_or_die(first, lead + ph->p_filesz, prot, MAP_PRIVATE, fd, offset);
  else file_pages_end = first;
  if (ph->p_memsz == ph->p_filesz) return;
  if (ph->p_filesz) memset((void *)file_end, 0, file_pages_end - file_end);
  if (end > file_pages_end)
    map_or_die(file_pages_end, end - file_pages_end, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Maps ld.so and returns where; *entry is its entry point. */
static u64 map_ldso(long fd, u64 page, u64 *entry) {
  Elf64_Ehdr eh;
  Elf64_Phdr ph[LDSO_PHDRS_MAX];
  read_at(fd, &eh, sizeof eh, params.ldso_offset);
  if (eh.e_phnum > LDSO_PHDRS_MAX) die("ld.so has too many segments", "", 0);
  read_at(fd, ph, eh.e_phnum * sizeof *ph, params.ldso_offset + eh.e_phoff);
  u64 end = 0;
  for (int i = 0; i < eh.e_phnum; i++)
    if (ph[i].p_type == PT_LOAD) end = ph[i].p_vaddr + ph[i].p_memsz;
  long base = map(0, end, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (failed(base)) die("no address space for ld.so", "", base);
  for (int i = 0; i < eh.e_phnum; i++)
    if (ph[i].p_type == PT_LOAD) map_segment(&ph[i], (u64)base, fd, page);
  *entry = (u64)base + eh.e_entry;
  return (u64)base;
}

/* A memory file with one library in it, at a descriptor that is none of the standard three. */
static long library_fd(long exe, const volatile struct library *library) {
  char name[32];
  for (int i = 0; i < 32; i++) name[i] = library->name[i];
  /* Kernels from 6.3 want to be told that it will be executed; older ones don't know the flag. */
  long fd = syscall2(SYS_memfd_create, (long)name, MFD_CLOEXEC | MFD_EXEC);
  if (fd == -EINVAL) fd = syscall2(SYS_memfd_create, (long)name, MFD_CLOEXEC);
  if (failed(fd)) die("can't make a memory file for ", name, fd);
  if (fd < FD_MIN) {
    long higher = syscall3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, FD_MIN);
    if (failed(higher)) die("no file descriptor for ", name, higher);
    syscall1(SYS_close, fd);
    fd = higher;
  }
  long from = map(0, library->size, PROT_READ, MAP_PRIVATE, exe, library->offset);
  if (failed(from)) die("can't map ", name, from);
  for (u64 done = 0; done < library->size;) {
    long n = syscall3(SYS_write, fd, from + (long)done, (long)(library->size - done));
    if (n == -EINTR) continue;
    if (n <= 0) die("can't copy into memory: ", name, n);
    done += (u64)n;
  }
  syscall2(SYS_munmap, from, (long)library->size);
  return fd;
}

/*
 * Copies of the program headers and of the dynamic section, in which the libraries stand first among those needed, as
 * /proc/self/fd/N: a string may lie anywhere, since its offset from DT_STRTAB is taken modulo 2^64. The names the program
 * had follow; ld.so then finds them already loaded, by their SONAME.
 */
static struct shown *show_program(const long *fds) {
  long at = map(0, sizeof(struct shown), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (failed(at)) die("no memory", "", at);
  struct shown *shown = (struct shown *)at;
  u64 libraries = params.library_count;
  if (params.phnum + 1 > PHDRS_MAX || params.dynamic_count + libraries > DYNAMIC_MAX)
    die("the program has too many headers", "", 0);
  put(shown->interp, "/static-elf/ld.so", -1);

  const Elf64_Phdr *phdr = (const Elf64_Phdr *)params.phdr;
  for (u64 i = 0; i < params.phnum; i++) {
    shown->phdr[i] = phdr[i];
    /* ld.so takes the difference between where this says the headers are and where they are for a load bias. */
    if (phdr[i].p_type == PT_PHDR) shown->phdr[i].p_vaddr = (u64)shown->phdr;
    if (phdr[i].p_type == PT_DYNAMIC) shown->phdr[i].p_vaddr = (u64)shown->dynamic;
  }
  Elf64_Phdr *interp = &shown->phdr[params.phnum];
  interp->p_type = PT_INTERP;
  interp->p_flags = PF_R;
  interp->p_vaddr = (u64)shown->interp;
  interp->p_filesz = interp->p_memsz = length(shown->interp) + 1;

  Elf64_Dyn *dynamic = shown->dynamic;
  for (u64 i = 0; i < libraries; i++, dynamic++) {
    put(shown->path[i], "/proc/self/fd/", fds[i]);
    dynamic->d_tag = DT_NEEDED;
    dynamic->d_val = (u64)shown->path[i] - params.strtab;
  }
  memcpy(dynamic, (const void *)params.dynamic, params.dynamic_count * sizeof *dynamic);
  return shown;
}

/* Called by _start with the stack the kernel made; returns the entry point of ld.so. */
u64 loader_main(u64 *stack) {
  char **envp = (char **)(stack + 1 + stack[0] + 1);
  hide_environment(envp);
  while (*envp) envp++;
  u64 *auxv = (u64 *)(envp + 1);
  u64 page = *find_aux(auxv, AT_PAGESZ);
  if (page > PAGE_SIZE_MAX) die("the kernel's pages are larger than 64 KiB", "", 0);

  long exe = syscall4(SYS_openat, AT_FDCWD, (long)"/proc/self/exe", O_RDONLY | O_CLOEXEC, 0);
  if (failed(exe)) die("can't open /proc/self/exe (is /proc mounted?)", "", exe);
  long fds[LIBRARIES_MAX];
  for (u64 i = 0; i < params.library_count; i++) fds[i] = library_fd(exe, &params.library[i]);
  u64 entry;
  u64 base = map_ldso(exe, page, &entry);
  syscall1(SYS_close, exe);
  struct shown *shown = show_program(fds);

  *find_aux(auxv, AT_PHDR) = (u64)shown->phdr;
  *find_aux(auxv, AT_PHNUM) = params.phnum + 1;
  *find_aux(auxv, AT_BASE) = base;
  *find_aux(auxv, AT_ENTRY) = params.entry;
  return entry;
}
