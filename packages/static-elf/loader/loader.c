/*
 * The stub that a statically linked Bun executable starts with. The kernel has mapped the program and this stub; the
 * stub maps the ld.so that was appended to the file, shows it the libraries that were appended too, and jumps to it. Once
 * ld.so has loaded them it calls the stub again, which puts the file's own pages in place of the copies.
 *
 * Freestanding: no libc, no writable data, one RX segment at a fixed address below the program. docs/static-elf.md has
 * pictures. Whatever can't go on says one line on stderr and exits 127.
 */
#include "base.h"
#include "elf.h"
#include "hidden.h"
#include "init.h"
#include "launch.h"

#define LIBRARIES_MAX 8
#define LDSO_PHDRS_MAX 16
#define PHDRS_MAX 32 /* this and the next: link.ts checks them too */
#define DYNAMIC_MAX 96
#define OWN_DYNAMIC 2
#define PAGE_SIZE_MAX 65536
#define PR_SET_DUMPABLE 4

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

/* What ld.so is shown in place of the program's own: it writes into some of it. And what `settle` must know. */
struct shown {
  Elf64_Phdr phdr[PHDRS_MAX];
  Elf64_Dyn dynamic[DYNAMIC_MAX];
  char path[LIBRARIES_MAX][32];
  char interp[32];
  void (*preinit[1])(void);
  long exe, fds[LIBRARIES_MAX];
  u64 page;
};
/* Above the stub and below the program: nothing is mapped there when a program with fixed addresses starts. */
#define SHOWN ((struct shown *)0x110000)

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
  if (failed(result)) die("can't map what it needs", "", result);
}

static void read_at(long fd, void *to, u64 size, u64 offset) {
  long result = syscall4(SYS_pread64, fd, (long)to, (long)size, (long)offset);
  if (result != (long)size) die("can't read the appended ld.so", "", result);
}

static int protection(const Elf64_Phdr *ph) {
  return (ph->p_flags & PF_R ? PROT_READ : 0) | (ph->p_flags & PF_W ? PROT_WRITE : 0) |
         (ph->p_flags & PF_X ? PROT_EXEC : 0);
}

/* Maps the file part of a segment, from our own file, so that its pages are shared; `offset` is where its library begins. */
static void map_file_part(const Elf64_Phdr *ph, u64 base, long exe, u64 offset, u64 page) {
  u64 lead = (base + ph->p_vaddr) & (page - 1);
  /* Whole pages, as any kernel would; ld.so allocates from the rest of its last one, and qemu -p takes us at our word. */
  u64 size = (lead + ph->p_filesz + page - 1) & ~(page - 1);
  map_or_die(base + ph->p_vaddr - lead, size, protection(ph), MAP_PRIVATE, exe,
             offset + ph->p_offset - lead);
}

/* Maps one segment of ld.so: its file part, then its zeroes. */
static void map_segment(const Elf64_Phdr *ph, u64 base, long exe, u64 page) {
  u64 start = base + ph->p_vaddr;
  u64 file_end = start + ph->p_filesz;
  u64 end = start + ph->p_memsz;
  u64 zeroes = start & ~(page - 1);
  if (ph->p_filesz) {
    map_file_part(ph, base, exe, params.ldso_offset, page);
    zeroes = (file_end + page - 1) & ~(page - 1);
    if (ph->p_flags & PF_W) memset((void *)file_end, 0, zeroes - file_end);
  }
  if (end > zeroes)
    map_or_die(zeroes, end - zeroes, protection(ph), MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Maps ld.so and returns where; *entry is its entry point. */
static u64 map_ldso(long exe, u64 page, u64 *entry) {
  Elf64_Ehdr eh;
  Elf64_Phdr ph[LDSO_PHDRS_MAX];
  read_at(exe, &eh, sizeof eh, params.ldso_offset);
  if (eh.e_phnum > LDSO_PHDRS_MAX) die("ld.so has too many segments", "", 0);
  read_at(exe, ph, eh.e_phnum * sizeof *ph, params.ldso_offset + eh.e_phoff);
  u64 end = 0;
  for (int i = 0; i < eh.e_phnum; i++)
    if (ph[i].p_type == PT_LOAD) end = ph[i].p_vaddr + ph[i].p_memsz;
  long base = map(0, end, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (failed(base)) die("no address space for ld.so", "", base);
  for (int i = 0; i < eh.e_phnum; i++)
    if (ph[i].p_type == PT_LOAD) map_segment(&ph[i], (u64)base, exe, page);
  *entry = (u64)base + eh.e_entry;
  return (u64)base;
}

/* The same file at a descriptor that is none of the standard three, should those have been closed. */
static long away_from_standard(long fd, const char *name) {
  if (fd >= FD_MIN) return fd;
  long higher = syscall3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, FD_MIN);
  if (failed(higher)) die("no file descriptor for ", name, higher);
  syscall1(SYS_close, fd);
  return higher;
}

/* A memory file with one library in it. */
static long library_fd(long exe, const volatile struct library *library) {
  char name[32];
  for (int i = 0; i < 32; i++) name[i] = library->name[i];
  /*
   * Kernels from 6.3 want to be told whether it will be executed as a program. It won't; mapping it executable is another
   * matter, so this holds under vm.memfd_noexec=2 too. Older ones don't know the flag.
   */
  long fd = syscall2(SYS_memfd_create, (long)name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);
  if (fd == -EINVAL) fd = syscall2(SYS_memfd_create, (long)name, MFD_CLOEXEC);
  if (failed(fd)) die("can't make a memory file for ", name, fd);
  fd = away_from_standard(fd, name);
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

/* Writing a memory file beyond `ulimit -f` would end us with a signal and no word. */
static void check_file_size_limit(void) {
  u64 limit[2];
  long result = syscall4(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)limit);
  if (failed(result)) die("can't read the file size limit", "", result);
  for (u64 i = 0; i < params.library_count; i++)
    if (params.library[i].size > limit[0])
      die("the file size limit (ulimit -f) is too low to copy libraries into memory", "", 0);
}

/* Puts the file's pages in place of the copy's wherever they are only read, and gives the copy's memory back. */
static void settle_library(const struct link_map *loaded, u64 index) {
  const Elf64_Ehdr *eh = (const Elf64_Ehdr *)loaded->l_addr;
  const Elf64_Phdr *ph = (const Elf64_Phdr *)(loaded->l_addr + eh->e_phoff);
  u64 page = SHOWN->page, unused = params.library[index].size;
  /* The headers lie in what is replaced, by the same bytes. */
  for (int i = 0; i < eh->e_phnum; i++) {
    if (ph[i].p_type != PT_LOAD) continue;
    if (!(ph[i].p_flags & PF_W))
      map_file_part(&ph[i], loaded->l_addr, SHOWN->exe, params.library[index].offset, page);
    else if (ph[i].p_offset < unused) unused = ph[i].p_offset;
  }
  /* A kernel that refuses leaves us with more memory in use, and nothing else. */
  syscall4(SYS_fallocate, SHOWN->fds[index], FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0,
           (long)(unused & ~(page - 1)));
}

/*
 * Called by ld.so as the program's DT_PREINIT_ARRAY: all is loaded and relocated, no constructor and no second thread has
 * run. From here on the libraries' text is shared between all processes of this file, and no descriptor of ours is left.
 */
static void settle(void) {
  const struct r_debug *debug = 0;
  for (const Elf64_Dyn *d = SHOWN->dynamic; d->d_tag; d++)
    if (d->d_tag == DT_DEBUG) debug = (const struct r_debug *)d->d_val;
  for (const struct link_map *map = debug ? debug->r_map : 0; map; map = map->l_next)
    for (u64 i = 0; i < params.library_count; i++)
      if (same(map->l_name, SHOWN->path[i])) settle_library(map, i);
  for (u64 i = 0; i < params.library_count; i++) syscall1(SYS_close, SHOWN->fds[i]);
  syscall1(SYS_close, SHOWN->exe);
}

/*
 * Copies of the program headers and of the dynamic section, in which the libraries stand first among those needed, as
 * /proc/self/fd/N: a string may lie anywhere, since its offset from DT_STRTAB is taken modulo 2^64. The names the program
 * had follow; ld.so then finds them already loaded, by their SONAME.
 */
static void show_program(void) {
  struct shown *shown = SHOWN;
  u64 libraries = params.library_count;
  if (params.phnum + 1 > PHDRS_MAX || params.dynamic_count + libraries + OWN_DYNAMIC > DYNAMIC_MAX)
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
  for (u64 i = 0; i < libraries; i++) {
    put(shown->path[i], "/proc/self/fd/", shown->fds[i]);
    *dynamic++ = (Elf64_Dyn){DT_NEEDED, (u64)shown->path[i] - params.strtab};
  }
  shown->preinit[0] = settle;
  *dynamic++ = (Elf64_Dyn){DT_PREINIT_ARRAY, (u64)shown->preinit};
  *dynamic++ = (Elf64_Dyn){DT_PREINIT_ARRAYSZ, sizeof shown->preinit};
  memcpy(dynamic, (const void *)params.dynamic, params.dynamic_count * sizeof *dynamic);
}

/* Called by _start with the stack the kernel made; returns the entry point of ld.so. */
u64 loader_main(u64 *stack) {
  char **argv = (char **)(stack + 1), **envp = argv + stack[0] + 1;
  if (stack[0] > 0 && same(argv[0], LAUNCH)) launch(argv + 1, envp);
  /* Before anything else runs: the environment and memory may hold secrets, and so will init's. It stays so until an exec. */
  syscall2(SYS_prctl, PR_SET_DUMPABLE, 0);
  stay_as_init();
  hide_environment(envp);
  while (*envp) envp++;
  u64 *auxv = (u64 *)(envp + 1);
  u64 page = *find_aux(auxv, AT_PAGESZ);
  if (page > PAGE_SIZE_MAX) die("the kernel's pages are larger than 64 KiB", "", 0);

  check_file_size_limit();
  map_or_die((u64)SHOWN, sizeof *SHOWN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  SHOWN->page = page;
  long exe = syscall4(SYS_openat, AT_FDCWD, (long)"/proc/self/exe", O_RDONLY | O_CLOEXEC, 0);
  if (failed(exe)) die("can't open /proc/self/exe (is /proc mounted, and the file readable?)", "", exe);
  SHOWN->exe = exe = away_from_standard(exe, "/proc/self/exe");
  for (u64 i = 0; i < params.library_count; i++)
    SHOWN->fds[i] = library_fd(exe, &params.library[i]);
  u64 entry;
  u64 base = map_ldso(exe, page, &entry);
  show_program();

  *find_aux(auxv, AT_PHDR) = (u64)SHOWN->phdr;
  *find_aux(auxv, AT_PHNUM) = params.phnum + 1;
  *find_aux(auxv, AT_BASE) = base;
  *find_aux(auxv, AT_ENTRY) = params.entry;
  return entry;
}
