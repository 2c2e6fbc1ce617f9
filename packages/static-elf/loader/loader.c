/*
 * The entry point of a statically linked Bun executable. The kernel maps the program and this stub; the stub maps the ld.so
 * appended to the file, presents the appended libraries to it, and jumps to it. When ld.so has loaded them, it calls the stub
 * again, which replaces the copies in memory by pages of the file.
 *
 * Freestanding: no libc, no writable data, one RX segment at a fixed address below the program. docs/static-elf.md explains the
 * layout. On failure the stub writes one line to stderr and exits with 127.
 */
#include "base.h"
#include "elf.h"
#include "hidden.h"
#include "init.h"
#include "launch.h"

#define LIBRARIES_MAX 8
#define LDSO_PHDRS_MAX 16
#define PHDRS_MAX 32 /* link.ts checks this and the next one too */
#define DYNAMIC_MAX 96
#define ADDED_DYNAMIC 2
#define PAGE_SIZE_MAX 65536
#define PR_SET_DUMPABLE 4

/* Filled in by link.ts, which finds it by its magic. Offsets are file offsets; addresses are virtual. */
struct library {
  u64 offset;
  u64 size;
  char name[32];
};
struct params {
  char magic[16];
  u64 entry;         /* original entry point of the program */
  u64 phdr;          /* address of its program headers */
  u64 phnum;
  u64 dynamic;       /* address of its dynamic section */
  u64 dynamic_count; /* entries, including DT_NULL */
  u64 strtab;        /* its DT_STRTAB */
  u64 ldso_offset;
  u64 library_count;
  struct library library[LIBRARIES_MAX];
};
__attribute__((section(".params"), used)) static const volatile struct params params = {
    .magic = "fleet-static-elf"};

/* The headers and dynamic section presented to ld.so, which writes to some of them, and the state of `share_pages`. */
struct ldso_view {
  Elf64_Phdr phdr[PHDRS_MAX];
  Elf64_Dyn dynamic[DYNAMIC_MAX];
  char path[LIBRARIES_MAX][32];
  char interp[32];
  void (*preinit[1])(void);
  long exe, fds[LIBRARIES_MAX];
  u64 page;
};
/* Between the stub and the program. Nothing is mapped there when a program with fixed addresses starts. */
#define LDSO_VIEW ((struct ldso_view *)0x110000)

static u64 *find_aux(u64 *auxv, u64 type) {
  for (; auxv[0] != AT_NULL; auxv += 2)
    if (auxv[0] == type) return &auxv[1];
  die("a required entry of the kernel's auxiliary vector is missing", "", 0);
}

static long map(u64 address, u64 size, int prot, int flags, long fd, u64 offset) {
  return syscall6(SYS_mmap, (long)address, (long)size, prot, flags, fd, (long)offset);
}

static void map_or_die(u64 address, u64 size, int prot, int flags, long fd, u64 offset) {
  long result = map(address, size, prot, flags | MAP_FIXED, fd, offset);
  if (failed(result)) die("can't map memory", "", result);
}

static void read_at(long fd, void *to, u64 size, u64 offset) {
  long result = syscall4(SYS_pread64, fd, (long)to, (long)size, (long)offset);
  if (result != (long)size) die("can't read the appended ld.so", "", result);
}

static int protection(const Elf64_Phdr *ph) {
  return (ph->p_flags & PF_R ? PROT_READ : 0) | (ph->p_flags & PF_W ? PROT_WRITE : 0) |
         (ph->p_flags & PF_X ? PROT_EXEC : 0);
}

/* Maps the file part of a segment from our own file, so that its pages are shared. `offset` is the start of its library in the file. */
static void map_file_part(const Elf64_Phdr *ph, u64 base, long exe, u64 offset, u64 page) {
  u64 lead = (base + ph->p_vaddr) & (page - 1);
  /* Rounded to whole pages, because ld.so allocates from the rest of its last page, and qemu -p maps only the requested size. */
  u64 size = (lead + ph->p_filesz + page - 1) & ~(page - 1);
  map_or_die(base + ph->p_vaddr - lead, size, protection(ph), MAP_PRIVATE, exe,
             offset + ph->p_offset - lead);
}

/* Maps one segment of ld.so: its file part, then its zero-filled part. */
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

/* Maps ld.so, stores its entry point in *entry, and returns its base address. */
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

/* Moves a descriptor above the three standard ones, which may have been closed at the start. */
static long above_standard(long fd, const char *name) {
  if (fd >= FD_MIN) return fd;
  long higher = syscall3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, FD_MIN);
  if (failed(higher)) die("no file descriptor for ", name, higher);
  syscall1(SYS_close, fd);
  return higher;
}

/* Returns a memory file with a copy of one library. */
static long library_fd(long exe, const volatile struct library *library) {
  char name[32];
  for (int i = 0; i < 32; i++) name[i] = library->name[i];
  /*
   * Since 6.3 the kernel expects a flag that tells whether the file may be executed as a program. It will only be mapped
   * executable, which the flag permits, so this also works with vm.memfd_noexec=2. Older kernels do not know the flag.
   */
  long fd = syscall2(SYS_memfd_create, (long)name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);
  if (fd == -EINVAL) fd = syscall2(SYS_memfd_create, (long)name, MFD_CLOEXEC);
  if (failed(fd)) die("can't make a memory file for ", name, fd);
  fd = above_standard(fd, name);
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

/* Writing a memory file beyond `ulimit -f` would kill the process by a signal without a message. */
static void check_file_size_limit(void) {
  u64 limit[2];
  long result = syscall4(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)limit);
  if (failed(result)) die("can't read the file size limit", "", result);
  for (u64 i = 0; i < params.library_count; i++)
    if (params.library[i].size > limit[0])
      die("the file size limit (ulimit -f) is too low to copy libraries into memory", "", 0);
}

/* Replaces the read-only pages of the copy by pages of the file, and frees the memory of the copy. */
static void share_library_pages(const struct link_map *loaded, u64 index) {
  const Elf64_Ehdr *eh = (const Elf64_Ehdr *)loaded->l_addr;
  const Elf64_Phdr *ph = (const Elf64_Phdr *)(loaded->l_addr + eh->e_phoff);
  u64 page = LDSO_VIEW->page, unused = params.library[index].size;
  /* The headers are in pages that are replaced, with identical contents. */
  for (int i = 0; i < eh->e_phnum; i++) {
    if (ph[i].p_type != PT_LOAD) continue;
    if (!(ph[i].p_flags & PF_W))
      map_file_part(&ph[i], loaded->l_addr, LDSO_VIEW->exe, params.library[index].offset, page);
    else if (ph[i].p_offset < unused) unused = ph[i].p_offset;
  }
  /* If this fails, only more memory stays in use. */
  syscall4(SYS_fallocate, LDSO_VIEW->fds[index], FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0,
           (long)(unused & ~(page - 1)));
}

/*
 * Called by ld.so through DT_PREINIT_ARRAY, when everything is loaded and relocated, but before any constructor or second
 * thread runs. Afterwards all processes of this file share the text of the libraries, and the stub has no open descriptors.
 */
static void share_pages(void) {
  const struct r_debug *debug = 0;
  for (const Elf64_Dyn *d = LDSO_VIEW->dynamic; d->d_tag; d++)
    if (d->d_tag == DT_DEBUG) debug = (const struct r_debug *)d->d_val;
  for (const struct link_map *map = debug ? debug->r_map : 0; map; map = map->l_next)
    for (u64 i = 0; i < params.library_count; i++)
      if (equal(map->l_name, LDSO_VIEW->path[i])) share_library_pages(map, i);
  for (u64 i = 0; i < params.library_count; i++) syscall1(SYS_close, LDSO_VIEW->fds[i]);
  syscall1(SYS_close, LDSO_VIEW->exe);
}

/*
 * Builds copies of the program headers and the dynamic section in which the appended libraries, named /proc/self/fd/N, are the
 * first DT_NEEDED entries. Their names can be at any address, because the offset from DT_STRTAB is computed modulo 2^64. The
 * program's original entries follow; ld.so finds these libraries already loaded, by their SONAME.
 */
static void build_ldso_view(void) {
  struct ldso_view *view = LDSO_VIEW;
  u64 libraries = params.library_count;
  if (params.phnum + 1 > PHDRS_MAX || params.dynamic_count + libraries + ADDED_DYNAMIC > DYNAMIC_MAX)
    die("the program has too many headers", "", 0);
  put(view->interp, "/static-elf/ld.so", -1);

  const Elf64_Phdr *phdr = (const Elf64_Phdr *)params.phdr;
  for (u64 i = 0; i < params.phnum; i++) {
    view->phdr[i] = phdr[i];
    /* ld.so computes the load bias as the difference between the actual address of the headers and this one. */
    if (phdr[i].p_type == PT_PHDR) view->phdr[i].p_vaddr = (u64)view->phdr;
    if (phdr[i].p_type == PT_DYNAMIC) view->phdr[i].p_vaddr = (u64)view->dynamic;
  }
  Elf64_Phdr *interp = &view->phdr[params.phnum];
  interp->p_type = PT_INTERP;
  interp->p_flags = PF_R;
  interp->p_vaddr = (u64)view->interp;
  interp->p_filesz = interp->p_memsz = length(view->interp) + 1;

  Elf64_Dyn *dynamic = view->dynamic;
  for (u64 i = 0; i < libraries; i++) {
    put(view->path[i], "/proc/self/fd/", view->fds[i]);
    *dynamic++ = (Elf64_Dyn){DT_NEEDED, (u64)view->path[i] - params.strtab};
  }
  view->preinit[0] = share_pages;
  *dynamic++ = (Elf64_Dyn){DT_PREINIT_ARRAY, (u64)view->preinit};
  *dynamic++ = (Elf64_Dyn){DT_PREINIT_ARRAYSZ, sizeof view->preinit};
  memcpy(dynamic, (const void *)params.dynamic, params.dynamic_count * sizeof *dynamic);
}

/* Called by _start with the initial stack; returns the entry point of ld.so. */
u64 loader_main(u64 *stack) {
  char **argv = (char **)(stack + 1), **envp = argv + stack[0] + 1;
  if (stack[0] > 0 && equal(argv[0], LAUNCH)) launch(argv + 1, envp);
  /* First of all, because the environment and memory may hold secrets, also those of init. It lasts until an exec. */
  syscall2(SYS_prctl, PR_SET_DUMPABLE, 0);
  stay_as_init();
  hide_environment(envp);
  while (*envp) envp++;
  u64 *auxv = (u64 *)(envp + 1);
  u64 page = *find_aux(auxv, AT_PAGESZ);
  if (page > PAGE_SIZE_MAX) die("the kernel's pages are larger than 64 KiB", "", 0);

  check_file_size_limit();
  map_or_die((u64)LDSO_VIEW, sizeof *LDSO_VIEW, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  LDSO_VIEW->page = page;
  long exe = syscall4(SYS_openat, AT_FDCWD, (long)"/proc/self/exe", O_RDONLY | O_CLOEXEC, 0);
  if (failed(exe)) die("can't open /proc/self/exe (is /proc mounted, and the file readable?)", "", exe);
  LDSO_VIEW->exe = exe = above_standard(exe, "/proc/self/exe");
  for (u64 i = 0; i < params.library_count; i++)
    LDSO_VIEW->fds[i] = library_fd(exe, &params.library[i]);
  u64 entry;
  u64 base = map_ldso(exe, page, &entry);
  build_ldso_view();

  *find_aux(auxv, AT_PHDR) = (u64)LDSO_VIEW->phdr;
  *find_aux(auxv, AT_PHNUM) = params.phnum + 1;
  *find_aux(auxv, AT_BASE) = base;
  *find_aux(auxv, AT_ENTRY) = params.entry;
  return entry;
}
