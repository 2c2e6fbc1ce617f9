/* The parts of <elf.h> and the kernel headers that the stub uses, so that a cross compiler without a libc suffices. */
#ifndef ELF_H
#define ELF_H

typedef struct {
  unsigned char e_ident[16];
  unsigned short e_type, e_machine;
  unsigned int e_version;
  unsigned long e_entry, e_phoff, e_shoff;
  unsigned int e_flags;
  unsigned short e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx;
} Elf64_Ehdr;

typedef struct {
  unsigned int p_type, p_flags;
  unsigned long p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align;
} Elf64_Phdr;

typedef struct {
  long d_tag;
  unsigned long d_val;
} Elf64_Dyn;

/* <link.h>: the first members of ld.so's record of a loaded file, and the head of their list, to which DT_DEBUG points. */
struct link_map {
  unsigned long l_addr;
  char *l_name;
  Elf64_Dyn *l_ld;
  struct link_map *l_next;
};
struct r_debug {
  int r_version;
  struct link_map *r_map;
};

#define PT_LOAD 1
#define PT_DYNAMIC 2
#define PT_INTERP 3
#define PT_PHDR 6
#define PF_X 1
#define PF_W 2
#define PF_R 4
#define DT_NEEDED 1
#define DT_DEBUG 21
#define DT_PREINIT_ARRAY 32
#define DT_PREINIT_ARRAYSZ 33

#define AT_NULL 0
#define AT_PHDR 3
#define AT_PHNUM 5
#define AT_PAGESZ 6
#define AT_BASE 7
#define AT_ENTRY 9

#define PROT_NONE 0
#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_PRIVATE 2
#define MAP_FIXED 0x10
#define MAP_ANONYMOUS 0x20

#define AT_FDCWD (-100)
#define O_RDONLY 0
#define O_WRONLY 1
#define O_CLOEXEC 02000000
#define F_DUPFD_CLOEXEC 1030
#define MFD_CLOEXEC 1
#define MFD_NOEXEC_SEAL 8
#define FALLOC_FL_KEEP_SIZE 1
#define FALLOC_FL_PUNCH_HOLE 2
#define RLIMIT_FSIZE 1
#define RLIMIT_NOFILE 7

#endif
